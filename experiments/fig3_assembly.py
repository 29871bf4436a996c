"""Figure 3 of Yi et al.: molecules taken apart, do they find back?

    python experiments/fig3_assembly.py          # about ten minutes; table1_qm9.py must have run

One or two groups of 256 test molecules are moved 0.7 Å away along their bonds, then relaxed by at most 500
FIRE steps: success is the bonds of before and ΔP < 0.1 Å. Surfaces: the pretrained qm9-small, the default and
the paper's objective, both with and without the bound, energies only; MMFF94, which cannot lose a bond, and
GFN2-xTB; ANI-1x with --ani-python; some of these alone by --surfaces.
Expected: 96 % of qm9-small, 86 to 90 % of the default size, none of the literal losses. GDB-35 and GDB-87
are drawn. Writes docs/results/reliability/fig3.json, fig3-35.png and fig3-87.png.
"""

import sys
from pathlib import Path

import numpy as np
import reliability_runs as shared
import tyro

from jphys import figures
from jphys.data.structures import graphs, take
from jphys.reliability import assembly
from jphys.reliability.recovery import select

STEPS = (0, 5, 20, 50, 100, 200, 500)


def draw(found: dict, output: Path, steps: tuple[int, ...]) -> None:
    """The way back of GDB-35 and GDB-87, taken apart at one group."""
    everything = shared.molecules()
    for number in (35, 87):
        (row,) = np.flatnonzero(everything.name == f"dsgdb9nsd_{number:06d}")
        (stable,) = graphs(take(everything, [row]))
        (apart,) = assembly.take_apart([stable], n_groups=1)
        strips = {
            name: assembly.frames(potential, params, apart.graph, steps)
            for name, (potential, params) in found.items()
        }
        figures.assembly_strips(strips, steps, stable, output / f"fig3-{number}.png")


def main(config: shared.SurfacesConfig) -> None:
    """Judge every surface, write, draw."""
    smoke = config.preset == "smoke"
    test, _ = shared.test_part(0)
    whole = [graph for graph in test if assembly.groups_of(graph)]
    chosen = [whole[i] for i in select(whole, n=6 if smoke else config.molecules)]
    found = shared.surfaces(config)
    rows = {}
    for name, (potential, params) in found.items():
        result = assembly.assembly(potential, params, chosen, max_steps=40 if smoke else 500, progress=True)
        rows[name] = assembly.summary(result)["rows"]
        for row in rows[name]:
            print(
                f"{name:20s} {row['molecules']:10s} {100 * row['success']:5.1f} % of {row['n']} "
                f"({100 * row['low']:.1f} to {100 * row['high']:.1f}), median ΔP {row['distance']:.3f} Å"
            )
    record = {"n_without_group": len(test) - len(whole), "shift": assembly.SHIFT, "surfaces": rows}
    shared.write(config.kept, f"{config.named('fig3')}.json", record)
    if not config.surfaces:
        draw(found, config.kept, STEPS[:3] if smoke else STEPS)


if __name__ == "__main__":
    try:
        main(tyro.cli(shared.SurfacesConfig, description=__doc__))
    except (ValueError, ImportError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
