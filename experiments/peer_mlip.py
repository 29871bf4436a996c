"""InstaDeep's mlip (arXiv:2505.22397) as a peer of `bench_simulation.py`: its JAX-MD engine on CPU.

Its ViSNet and NequIP with random parameters, of the width and depth of ours; NVE at the same box, cutoff
and time step. Run as a script, this file is the process of the peer.
"""

import importlib
import logging
from typing import Any

from peer_process import Peer, serve
from peer_process import check as check_for

KINDS = {
    "visnet": {"num_layers": 3, "num_channels": 64, "num_heads": 8, "num_rbf": 32, "l_max": 1},
    "nequip": {"num_layers": 3, "target_irreps": "64x0e + 32x1o", "l_max": 1, "num_rbf": 8},
}
CUTOFF = 5.0  # Å


def check(python: str) -> None:
    """Stop where the interpreter does not have the library."""
    check_for(python, "mlip.simulation", "jax_md", "mlip")


def start(python: str, kind: str, atoms: Any, dt: float, steps: int, temperature: float) -> Peer:
    """A process that simulates these atoms by a model of this kind; every request is `steps` of `dt` fs."""
    task = {
        "kind": kind,
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.lengths().tolist(),
        "dt": dt,
        "steps": steps,
        "temperature": temperature,
    }
    return Peer(python, __file__, task)


def simulation(task: dict[str, Any]):
    """The engine at its start, and the function that goes on by so many steps."""
    logging.disable(logging.WARNING)
    ase, jax = importlib.import_module("ase"), importlib.import_module("jax")
    models, data = importlib.import_module("mlip.models"), importlib.import_module("mlip.data")
    engines, enums = (importlib.import_module(f"mlip.simulation.{name}") for name in ("jax_md", "enums"))
    kinds = {"visnet": models.Visnet, "nequip": models.Nequip}
    info = data.DatasetInfo(
        atomic_energies_map={int(z): 0.0 for z in set(task["numbers"])},
        graph_cutoff_angstrom=CUTOFF,
        avg_num_neighbors=45.0,
    )
    network = kinds[task["kind"]]
    model = network(network.Config(**KINDS[task["kind"]]), info)
    field = models.ForceField.from_mlip_network(model, seed=0)
    engine = engines.JaxMDSimulationEngine
    atoms = ase.Atoms(task["numbers"], task["positions"], cell=task["cell"], pbc=True)
    settings = engine.Config(
        num_steps=task["steps"],
        num_episodes=1,
        snapshot_interval=task["steps"],
        timestep_fs=task["dt"],
        temperature_kelvin=task["temperature"],
        md_integrator=enums.MDIntegrator.NVE_VELOCITY_VERLET,
    )
    running = engine(atoms, field, settings)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(field.params))

    def go_on() -> dict[str, Any]:
        running.run()
        return {"parameters": parameters, "temperature": float(running.state.temperature[-1])}

    return go_on


if __name__ == "__main__":
    serve(simulation)
