"""What finding edges costs, against ASE, in boxes of all sizes: a part of `bench_simulation.py`."""

import itertools
from typing import Any

import bench_systems
from ase.neighborlist import neighbor_list
from bench_timing import Candidate, measure

from jphys.neighbors import within_cutoff

CUTOFF = 5.0  # Å
ATOMS = 20_000  # of one round: small structures are searched many times


def candidates(system: str, n_atoms: int) -> list[Candidate]:
    """Ours and ASE's for a box of about so many atoms, moved by 0.1 Å."""
    atoms = bench_systems.build(system, n_atoms)
    atoms.rattle(0.1, seed=0)  # so that no distance is at the cutoff
    positions, cell = atoms.positions, atoms.cell.array
    times = max(ATOMS // len(atoms), 1)

    def repeat(search):
        for _ in range(times):
            search()

    return [
        Candidate(name, lambda _, search=search: repeat(search), times * len(atoms))
        for name, search in (
            ("ours", lambda: within_cutoff(positions, cell, CUTOFF)),
            ("ASE", lambda: neighbor_list("ijS", atoms, CUTOFF)),
        )
    ]


def run(config) -> dict[str, Any]:
    """µs per atom of every system and size, speed against ASE, and the growth with the size."""
    pairs = {(system, size): candidates(system, size) for system in config.systems for size in config.sizes}
    measure([candidate for pair in pairs.values() for candidate in pair], config.rounds)
    rows, ratios = [], {}
    for (system, size), (ours, ase) in pairs.items():
        times = {f"{one.name}, µs per atom": 1e6 * one.per_unit for one in (ours, ase)}
        rows.append({"system": system, "atoms": size, **times, "slowest / fastest": ours.spread})
        ratios[f"speed of ours / ASE, {system}, {size}"] = ase.per_unit / ours.per_unit
    for system in config.systems:
        for small, large in itertools.pairwise(config.sizes):
            growth = pairs[system, large][0].per_unit / pairs[system, small][0].per_unit
            ratios[f"growth per atom, {system}, {small} to {large}"] = growth
    return {"rows": rows, "ratios": ratios}
