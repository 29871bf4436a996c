"""Where the minimisers of `jphys.relax` end: BFGS beside FIRE, from noise and from MMFF94's minima."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

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


def run(config) -> dict[str, Any]:
    """A row per start and threshold."""
    shipped, (potential, params) = qm9.load_small(), jphys.load("qm9-small")
    chosen = np.sort(np.random.default_rng(0).permutation(len(shipped))[: config.minima])
    molecules = graphs(take(shipped, chosen))
    starts = {f"noise of {s:g} Å": perturb(molecules, s, key=jax.random.key(0)) for s in (0.1, 0.2)}
    starts["MMFF94's minimum"] = from_mmff94(molecules)
    lost = len(molecules) - len(starts["MMFF94's minimum"])
    rows = []
    for name, begun in starts.items():
        bfgs, fire = (
            relax_to(potential, params, begun, fmaxes=FMAXES, max_steps=MAX_STEPS, method=method)
            for method in ("bfgs", "fire")
        )
        rows += [compared(name, a, b, fmax) for a, b, fmax in zip(bfgs, fire, FMAXES, strict=True)]
    return {"rows": rows, "ratios": {"molecules that RDKit or MMFF94 does not take": lost}}
