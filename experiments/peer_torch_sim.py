"""torch-sim (arXiv:2508.06628) as a peer of `bench_simulation.py`: batched FIRE on CPU torch.

It needs no download for Lennard-Jones, whose forces cost next to nothing beside those of a network: what
is measured is what its batching costs. The shortest energy is near a C–C bond length, so that molecules
become clusters. Run as a script, this file is the process of the peer.
"""

import importlib
from typing import Any

from peer_process import Peer, serve
from peer_process import check as check_for

SIGMA, EPSILON, CUTOFF = 1.3, 0.1, 5.0  # Å, eV, Å
BOX = 50.0  # Å, not periodic


def check(python: str) -> None:
    """Stop where the interpreter does not have the library."""
    check_for(python, "torch_sim", "OPTIM_REGISTRY", "torch-sim-atomistic>=0.6 (Python 3.12)")


def start(python: str, structures: Any, limits: dict[str, Any]) -> Peer:
    """A process that relaxes these molecules, all at once, per request."""
    task = {name: getattr(structures, name).tolist() for name in ("n_atoms", "species", "positions")}
    return Peer(python, __file__, task | limits)


def relaxation(task: dict[str, Any]):
    """The function that relaxes all molecules of the task from their start."""
    torch, ts = (importlib.import_module(name) for name in ("torch", "torch_sim"))
    models = importlib.import_module("torch_sim.models.lennard_jones")
    model = models.LennardJonesModel(
        sigma=SIGMA, epsilon=EPSILON, cutoff=CUTOFF, dtype=torch.float32, device=torch.device("cpu")
    )
    counts = torch.tensor(task["n_atoms"])
    start = ts.SimState(
        positions=torch.tensor(task["positions"], dtype=torch.float32),
        masses=torch.ones(len(task["species"])),
        cell=torch.eye(3).repeat(len(counts), 1, 1) * BOX,
        pbc=False,
        atomic_numbers=torch.tensor(task["species"]),
        system_idx=torch.repeat_interleave(torch.arange(len(counts)), counts),
    )
    begin, step = ts.OPTIM_REGISTRY[ts.Optimizer.fire]

    def relax() -> dict[str, Any]:
        moved = 0

        def counted(*, state, **settings):
            nonlocal moved
            moved += state.n_systems
            return step(state=state, **settings)

        final = ts.optimize(
            start.clone(),
            model,
            optimizer=(begin, counted),
            convergence_fn=ts.generate_force_convergence_fn(task["fmax"]),
            max_steps=task["max_steps"],
            steps_between_swaps=1,
        )
        fmax = ts.system_wise_max_force(final)
        return {
            "steps": moved / len(counts),
            "converged %": 100.0 * float((fmax < task["fmax"]).double().mean()),
        }

    return relax


if __name__ == "__main__":
    serve(relaxation)
