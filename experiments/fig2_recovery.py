"""Figure 2 of Yi et al.: perturbed test molecules relaxed on several surfaces, how far from home do they end?

    python experiments/fig2_recovery.py          # about a quarter of an hour; table1_qm9.py must have run

256 test molecules, the 128 smallest and 128 random larger ones, displaced by σ = 0.1 Å (and not at all), are
relaxed by at most 500 FIRE steps to 0.01 eV/Å. Surfaces: the pretrained qm9-small, the default and the
paper's objective, both with and without the bound, energies only; MMFF94 and GFN2-xTB, whose own minima lie a
little beside those of QM9; ANI-1x with --ani-python; some of these alone by --surfaces. Expected mean ΔP:
0.02 Å on qm9-small, 0.05 of the default size, 0.7 to 0.9 on the literal surfaces, 0.09 on MMFF94, 0.05 on
GFN2-xTB. Writes docs/results/reliability/fig2.json, fig2.png, and
the best and the worst cases of qm9-small as fig2-cases.png.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import reliability_runs as shared
import tyro

from jphys import figures
from jphys.elements import formula
from jphys.graph import with_positions
from jphys.reliability.recovery import recovery, select, summary, table

SIGMA, FMAX = 0.1, 0.01


def draw_cases(found, chosen, path: Path) -> None:
    """The three best and the three worst molecules of one surface, over where they belong."""
    order = np.argsort(found.distance[-1, 0], kind="stable")
    ends = np.cumsum([len(graph.nodes.species) for graph in chosen])
    starts, rests, titles = [], [], []
    for i in [*order[:3], *order[-3:]]:
        atoms = slice(ends[i] - len(chosen[i].nodes.species), ends[i])
        starts.append(chosen[i])
        rests.append(with_positions(chosen[i], found.relaxed[-1, 0, atoms]))
        titles.append(f"{formula(chosen[i].nodes.species)}, ΔP {found.distance[-1, 0, i]:.3f} Å")
    figures.relaxations(starts, rests, path, titles)


def main(config: shared.SurfacesConfig) -> None:
    """Relax on every surface, write, draw."""
    smoke = config.preset == "smoke"
    test, _ = shared.test_part(0)
    chosen = [test[i] for i in select(test, n=6 if smoke else config.molecules)]
    settings = {"sigmas": (0.0, SIGMA), "fmaxes": (FMAX,), "max_steps": 30 if smoke else 500}
    found, problems = {}, {}
    for name, (potential, params) in shared.surfaces(config).items():
        found[name] = recovery(potential, params, chosen, **settings, key=jax.random.key(0), progress=True)
        problems[name] = dict(getattr(potential, "problems", {}))
        print(f"{name}\n{table(found[name])}")
    rows = {name: summary(one) for name, one in found.items()}
    shared.write(config.kept, f"{config.named('fig2')}.json", {"surfaces": rows, "problems": problems})
    if config.surfaces:
        return
    figures.recovery_distributions(found, config.kept / "fig2.png", sigma=SIGMA, fmax=FMAX)
    draw_cases(found["qm9-small"], chosen, config.kept / "fig2-cases.png")


if __name__ == "__main__":
    try:
        main(tyro.cli(shared.SurfacesConfig, description=__doc__))
    except (ValueError, ImportError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
