"""ANI-1x (Smith et al. 2018, doi:10.1063/1.5023802) as a surface to judge.

Eight networks trained on ωB97X/6-31G* energies of five million conformations of molecules of H, C, N, O. It
runs in an interpreter of its own (`--ani-python`), in double precision: torchani wants a torch and a
setuptools that jphys does not. Run as a script, this file is that process.
"""

import atexit
import dataclasses
import functools
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peer_process import Peer, serve_requests
from peer_process import check as check_for

NAME = "ANI-1x"
INSTALL = "numpy 'torch==2.13.0' 'torchani==2.2.4' 'setuptools<81'"  # its wheel has the weights of this model
ELEMENTS = frozenset({1, 6, 7, 8})
AT_ONCE = 64  # structures of one pass


def surface(python: str | None) -> Any:
    """ANI-1x as a `jphys.reliability.surface.Surface`; a molecule of other elements has no answer.

    Raises:
        ValueError, SystemExit: without an interpreter that has the library; says what to install.
    """
    from jphys.reliability.surface import Calculated  # not there in the other interpreter

    if python is None:
        raise ValueError(f"--ani-python must be an interpreter after pip install {INSTALL}, got none")
    check_for(python, "torchani", "neurochem", INSTALL, flag="--ani-python")
    questions = Questions(Peer(python, __file__, {}))
    atexit.register(questions.peer.close)

    @dataclasses.dataclass(frozen=True)
    class Ani(Calculated):
        def evaluate(self, graphs, *, progress=False):
            energies, forces = [np.zeros(0)], []
            for begin in range(0, len(graphs), AT_ONCE):
                some = graphs[begin : begin + AT_ONCE]
                questions.prepare(some)
                found = super().evaluate(some, progress=progress and len(some) > 1)
                energies, forces = [*energies, found[0]], forces + found[1]
            return np.concatenate(energies), forces

    return Ani(questions)


class Questions:
    """Energy (eV) and forces (n, 3) eV/Å of a graph; those prepared together are one request."""

    def __init__(self, peer: Peer):
        self.peer, self.ready = peer, {}

    def __call__(self, graph: Any) -> tuple[float, np.ndarray]:
        unknown = set(np.asarray(graph.nodes.species).tolist()) - ELEMENTS
        if unknown:
            raise ValueError(
                f"atomic numbers must be of {sorted(ELEMENTS)} for {NAME}, got {sorted(unknown)}"
            )
        if id(graph) not in self.ready:
            self.prepare([graph])
        return self.ready.pop(id(graph))

    def prepare(self, graphs: Sequence[Any]) -> None:
        """Ask about all graphs whose elements it knows."""
        from jphys.units import HARTREE

        species = {id(graph): np.asarray(graph.nodes.species).tolist() for graph in graphs}
        known = [graph for graph in graphs if ELEMENTS.issuperset(species[id(graph)])]
        self.ready = {}
        if known:
            positions = [np.asarray(graph.nodes.positions, np.float64).tolist() for graph in known]
            self.peer.work({"species": [species[id(graph)] for graph in known], "positions": positions})
            found = zip(known, self.peer.answer["energy"], self.peer.answer["forces"], strict=True)
            self.ready = {id(graph): (HARTREE * e, HARTREE * np.array(f)) for graph, e, f in found}


def answers(_: dict[str, Any]) -> Any:
    """The function from species and positions of structures to energies (hartree) and forces (hartree/Å)."""
    torch, ani = map(importlib.import_module, ("torch", "torchani"))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    folder = Path(str(ani.__file__)).parent / "resources" / "ani-1x_8x"
    constants = ani.neurochem.Constants(str(folder / "rHCNO-5.2R_16-3.5A_a4-8.params"))
    networks = ani.neurochem.load_model_ensemble(constants.species, str(folder / "train"), 8).double()
    alone = ani.neurochem.load_sae(str(folder / "sae_linfit.dat"))
    indices, features = ani.SpeciesConverter(constants.species), ani.AEVComputer(**constants).double()
    elements = [together(torch, [network[name] for network in networks]) for name in networks[0]]

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        pad = torch.nn.utils.rnn.pad_sequence
        species = pad([torch.tensor(one) for one in request["species"]], True, -1)
        places = pad([torch.tensor(one, dtype=torch.double) for one in request["positions"]], True)
        kinds, found = features(indices((species, places.requires_grad_())))
        atoms = places.new_zeros(kinds.shape)
        for kind, network in enumerate(elements):
            atoms = atoms.masked_scatter(kinds == kind, network(found[kinds == kind]))
        energies = alone((kinds, atoms.sum(1))).energies
        (slope,) = torch.autograd.grad(energies.sum(), places)
        forces = [-slope[row, : len(one)] for row, one in enumerate(request["species"])]
        return {"energy": energies.tolist(), "forces": [one.tolist() for one in forces]}

    return ask


def together(torch: Any, members: list[Any]) -> Any:
    """The mean of networks of one shape as one function: eight times fewer calls, and half the time."""
    stacked, _ = torch.func.stack_module_state(members)
    one = functools.partial(torch.func.functional_call, members[0])
    return lambda found: torch.vmap(one, (0, None))(stacked, found).mean(0)[:, 0]


if __name__ == "__main__":
    serve_requests(answers)
