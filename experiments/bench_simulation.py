"""What relaxation, paths, modes and dynamics cost: one call against an ASE loop, 10² to 10⁴ atoms, memory,
peers; where minimisers end, whether the total energy stays, and what it takes to find the edges of a graph.

    python experiments/bench_simulation.py
    python experiments/bench_simulation.py --parts dynamics --peer mlip --peer-python PYTHON
    python experiments/bench_simulation.py --parts relaxation --peer torch-sim --peer-python PYTHON
    python experiments/bench_simulation.py --parts minima --peer internals --peer-python PYTHON

All candidates of a part are interleaved in one run and their medians compared; what compiles is run once
before and timed apart. PYTHON is an interpreter that has the peer (pip install mlip, torch-sim-atomistic, or
jphys with geometric and sella); it runs in a process of its own. Memory is the peak of fresh child processes.
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import bench_conservation
import bench_dynamics
import bench_memory
import bench_minima
import bench_neighbors
import bench_paths
import bench_relaxation
import bench_systems
import bench_vibrations
import numpy as np
import peer_internals
import peer_mlip
import peer_torch_sim
import tyro
from bench_timing import cpu_name, report

from jphys import runs
from jphys.allocation import keep_freed_memory
from jphys.data import qm9

Part = Literal[
    "relaxation", "minima", "paths", "vibrations", "dynamics", "memory", "conservation", "neighbors"
]
PEERS = {
    "mlip": (peer_mlip, "dynamics"),
    "torch-sim": (peer_torch_sim, "relaxation"),
    "internals": (peer_internals, "minima"),
}
PARTS = {
    "relaxation": bench_relaxation,
    "minima": bench_minima,
    "paths": bench_paths,
    "vibrations": bench_vibrations,
    "dynamics": bench_dynamics,
    "memory": bench_memory,
    "conservation": bench_conservation,
    "neighbors": bench_neighbors,
}


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """Sizes of the measurement.

    Raises:
        ValueError: for a number below 1, fewer than two sizes of the memory, or a peer without its part.
    """

    parts: tuple[Part, ...] = get_args(Part)
    """What to measure."""
    rounds: int = 5
    """Each round times every candidate of a part in turn."""
    molecules: int = 256
    """Random molecules of the shipped QM9 subset to relax, or to find the modes of, in one call."""
    ase_molecules: int = 16
    """Random ones of them that an ASE loop does per round, other ones in each."""
    minima: int = 512
    """Random molecules of the shipped QM9 subset whose minima by two methods are compared."""
    bands: int = 32
    """Pairs of conformers between which paths are found in one call."""
    ase_bands: int = 2
    """Random ones of them that an ASE loop does per round."""
    noise: float = 0.1
    """Å, normal distribution: how far atoms are moved from their minimum first."""
    fmax: float = 0.01
    """Largest force of a relaxed molecule, eV/Å."""
    max_steps: int = 500
    """Steps after which a molecule is given up."""
    systems: tuple[Literal["liquid", "metal"], ...] = bench_systems.SYSTEMS
    """Boxes to simulate: acetic acid with the shipped model, copper with random parameters of it."""
    sizes: tuple[int, ...] = (100, 1000, 10000)
    """Atoms of a box, about."""
    steps: int = 20
    """Steps of dynamics of one candidate per round."""
    memory_sizes: tuple[int, ...] = (8000, 16000, 32000, 64000)
    """Atoms of the liquids that are simulated for their peak of memory."""
    gibibytes: float = 8.0
    """Memory that the largest system may take."""
    conserving: int = 8
    """Random molecules of the shipped QM9 subset whose total energy is followed."""
    time_steps: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    """Their time steps, fs."""
    picoseconds: float = 5.0
    """Length of each of their trajectories, ps."""
    peer: Literal["none", "mlip", "torch-sim", "internals"] = "none"
    """Other library to measure beside ours; internals: geomeTRIC and Sella."""
    peer_python: Path = Path(sys.executable)
    """Interpreter of the peer."""
    peer_sizes: tuple[int, ...] = (100, 1000)
    """Atoms of the boxes that the peer simulates, about; a part of `sizes`."""
    output: Path = Path("bench_simulation.json")
    """Where the JSON goes."""

    def __post_init__(self):
        names = (
            "rounds",
            "molecules",
            "minima",
            "ase_molecules",
            "bands",
            "ase_bands",
            "steps",
            "sizes",
            "memory_sizes",
            "peer_sizes",
            "conserving",
        )
        for name, value in ((name, getattr(self, name)) for name in names):
            if np.min(value, initial=1) < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if len(set(self.memory_sizes)) < 2:
            raise ValueError(f"memory_sizes must hold two different sizes, got {self.memory_sizes}")
        if not 0 < min(self.time_steps, default=0) <= max(self.time_steps) <= bench_conservation.EVERY:
            raise ValueError(f"time_steps must be from above 0 to 5 fs, got {self.time_steps}")
        if not self.picoseconds > 0:
            raise ValueError(f"picoseconds must be positive, got {self.picoseconds}")
        for name, all_of_them in (("ase_molecules", self.molecules), ("ase_bands", self.bands)):
            if getattr(self, name) > all_of_them:
                raise ValueError(f"{name} must be at most {all_of_them}, got {getattr(self, name)}")
        most = len(qm9.load_small())
        for name in ("molecules", "minima"):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}")
        if self.peer == "mlip" and not set(self.peer_sizes) & set(self.sizes):
            raise ValueError(f"peer_sizes must share a size with sizes {self.sizes}, got {self.peer_sizes}")
        if self.peer != "none" and PEERS[self.peer][1] not in self.parts:
            raise ValueError(f"parts must hold {PEERS[self.peer][1]} for {self.peer}, got {self.parts}")


def main() -> None:
    """Measure, print, write."""
    config = tyro.cli(BenchConfig, description=__doc__)
    if config.peer != "none":
        PEERS[config.peer][0].check(str(config.peer_python))
    keep_freed_memory()
    found: dict[str, Any] = {
        "environment": runs.environment() | {"cpu": cpu_name(), "load before": os.getloadavg()[1]},
        "config": {name: value for name, value in vars(config).items() if not isinstance(value, Path)},
    }
    config.output.parent.mkdir(parents=True, exist_ok=True)
    for part in config.parts:
        found[part] = PARTS[part].run(config)
        runs.write_json(config.output, found)  # a part that fails loses none before it
    print(report(found))


if __name__ == "__main__":
    main()
