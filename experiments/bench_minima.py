"""Where the minimisers of `jphys.relax` end: BFGS beside FIRE, from noise and from MMFF94's minima."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import peer_internals

import jphys
from jphys.data import qm9
from jphys.data.structures import graphs, take
from jphys.graph import Graph, bonds_of, with_positions
from jphys.md import relax_to
from jphys.reliability.conformers import embed
from jphys.reliability.surface import perturb

FMAXES = (0.01, 0.001)  # eV/Å
MAX_STEPS = 2000
SAME = 1e-3  # eV
RESTART = 2  # BFGS asks for the force at its start, and again where it begins once more (`Bfgs.rough`)


def from_mmff94(molecules: Sequence[Graph]) -> list[Graph]:
    """A minimum of MMFF94 of each that RDKit can embed, in whichever conformer it finds."""
    starts = []
    for graph in molecules:
        positions = np.asarray(graph.nodes.positions)
        try:
            minima = embed(graph.nodes.species, positions, bonds_of(graph), n=1, seed=0)
        except ValueError:
            continue
        starts += [with_positions(graph, one.astype(positions.dtype)) for one in minima]
    return starts


def compared(name: str, bfgs: Any, fire: Any, fmax: float) -> dict[str, Any]:
    """A row: where BFGS ended, against FIRE."""
    higher = bfgs.energy - fire.energy
    return {
        "start": name,
        "fmax eV/Å": fmax,
        "molecules": len(higher),
        "force calls, BFGS": float(np.median(bfgs.n_steps + RESTART)),
        "95 %": float(np.percentile(bfgs.n_steps + RESTART, 95)),
        "force calls, FIRE": float(np.median(fire.n_steps + 1)),
        "converged %, BFGS": 100.0 * float(bfgs.converged.mean()),
        "converged %, FIRE": 100.0 * float(fire.converged.mean()),
        "same energy within 1 meV %": 100.0 * float((np.abs(higher) < SAME).mean()),
        "lower": int((higher <= -SAME).sum()),
        "higher": int((higher >= SAME).sum()),
    }


def of_peers(python: str, starts: dict[str, list[Graph]], ours: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per start and peer: how often each asks for forces on its way to 0.01 eV/Å, and where it ends."""
    peer, rows = peer_internals.start(python), []
    for name, begun in starts.items():
        for kind in peer_internals.KINDS:
            answers = []
            for graph in begun:
                places = np.asarray(graph.nodes.positions, float).tolist()
                task = {"kind": kind, "species": graph.nodes.species.tolist(), "positions": places}
                peer.work(task | {"fmax": FMAXES[0], "max_steps": MAX_STEPS})
                answers.append(peer.answer)
            # A calculator in another process: forces at the threshold differ in the last digits.
            done = np.array([one["failure"] is None and one["fmax"] < 1.01 * FMAXES[0] for one in answers])
            ends = np.array([one.get("energy", np.nan) for one in answers])
            higher = ends - ours[name].energy
            rows.append(
                {
                    "start": name,
                    "minimiser": kind,
                    "molecules": len(answers),
                    "force calls": float(np.median([one["calls"] for one in answers])),
                    "of jphys BFGS": float(np.median(ours[name].n_steps + RESTART)),
                    "95 %": float(np.percentile([one["calls"] for one in answers], 95)),
                    "of jphys BFGS, 95 %": float(np.percentile(ours[name].n_steps + RESTART, 95)),
                    "converged %": 100.0 * float(done.mean()),
                    "within 1 meV of ours %": 100.0 * float((np.abs(higher) < SAME).mean()),
                    "lower": int((higher <= -SAME).sum()),
                    "higher": int((higher >= SAME).sum()),
                }
            )
    peer.close()
    return rows


def run(config) -> dict[str, Any]:
    """A row per start and threshold; of a peer its own."""
    shipped, (potential, params) = qm9.load_small(), jphys.load("qm9-small")
    chosen = np.sort(np.random.default_rng(0).permutation(len(shipped))[: config.minima])
    molecules = graphs(take(shipped, chosen))
    starts = {f"noise of {s:g} Å": perturb(molecules, s, key=jax.random.key(0)) for s in (0.1, 0.2)}
    starts["MMFF94's minimum"] = from_mmff94(molecules)
    lost = len(molecules) - len(starts["MMFF94's minimum"])
    rows = []
    if config.peer == "internals":
        ours = {
            name: jphys.relax(potential, params, begun, fmax=FMAXES[0], max_steps=MAX_STEPS, method="bfgs")
            for name, begun in starts.items()
        }
        return {"rows": of_peers(str(config.peer_python), starts, ours), "ratios": {}}
    for name, begun in starts.items():
        bfgs, fire = (
            relax_to(potential, params, begun, fmaxes=FMAXES, max_steps=MAX_STEPS, method=method)
            for method in ("bfgs", "fire")
        )
        rows += [compared(name, a, b, fmax) for a, b, fmax in zip(bfgs, fire, FMAXES, strict=True)]
    return {"rows": rows, "ratios": {"molecules that RDKit or MMFF94 does not take": lost}}
