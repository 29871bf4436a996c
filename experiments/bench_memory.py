"""The memory of `bench_simulation.py`: peaks of fresh processes, and the largest system that would fit.

Run as a script, this file is such a process: it simulates a liquid of so many atoms for two steps.
"""

import json
import resource
import subprocess
import sys
from typing import Any

import bench_dynamics
import numpy as np

from jphys.allocation import keep_freed_memory

STEPS = 2


def peak_gib() -> float:
    """Largest resident size of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def child(n_atoms: int) -> dict[str, Any]:
    """What a process of its own says about a box of about so many atoms."""
    command = [sys.executable, __file__, str(n_atoms)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{n_atoms} atoms must run, got exit status {done.returncode}: {done.stderr[-500:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def largest(atoms, peaks, limit: float) -> tuple[float, float, int]:
    """Line peak = base + slope·atoms by least squares: base, slope and the atoms that fit `limit`.

    >>> largest([1, 2, 3], [1.5, 2.0, 2.5], 8.0)
    (1.0, 0.5, 14)
    """
    slope, base = np.polyfit(atoms, peaks, 1)
    return round(float(base), 9), round(float(slope), 12), int(np.floor((limit - base) / slope + 1e-9))


def run(config) -> dict[str, Any]:
    """Peak per size, bytes per atom and pair, and the atoms that fit by the line through the peaks."""
    rows = [child(size) for size in config.memory_sizes]
    atoms, pairs = (np.array([row[key] for row in rows], float) for key in ("atoms", "pairs"))
    base, slope, fits = largest(atoms, [row["peak GiB"] for row in rows], config.gibibytes)
    _, search, _ = largest(atoms, [row["after the first list GiB"] for row in rows], config.gibibytes)
    return {
        "rows": rows,
        "ratios": {
            "base GiB": base,
            "kB per atom": slope * 2**20,
            "kB per pair within the cutoff and skin": slope * 2**20 * atoms.sum() / pairs.sum(),
            "kB per atom of the first list": search * 2**20,
            f"atoms in {config.gibibytes:g} GiB, extrapolated": fits,
        },
    }


def main() -> None:
    """Simulate; say what it took."""
    keep_freed_memory()
    motion = bench_dynamics.Motion("liquid", int(sys.argv[1]))
    row = {"atoms": len(motion.atoms), "pairs": motion.n_edges, "after the first list GiB": peak_gib()}
    motion.advance(STEPS)
    print(json.dumps(row | {"peak GiB": peak_gib()}))


if __name__ == "__main__":
    main()
