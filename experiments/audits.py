"""The audit of the pretrained model and of two surfaces that nobody here trained, for the docs.

    python experiments/audits.py                          # six minutes on one core, five of them GFN2-xTB
    python experiments/audits.py --subjects qm9-small
    python experiments/audits.py --subjects ani-1x --ani-python PYTHON      # a quarter of an hour

The same as `jphys audit <subject>` for each; ani-1x is ANI-1x in an interpreter of its own (peer_ani.py).
Expected: MMFF94 fails four checks, GFN2-xTB one, for want of answers about two atoms alone; ANI-1x fails
five, three of them for want of answers about fluorine. Writes runs/audits/<subject>/ with the page,
and docs/results/reliability/audit-<subject>.json; afterwards: experiments/render.py.
"""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Literal

import peer_ani
import reliability_runs as shared
import tyro

from jphys.cli import Audit, run_audit, subject_of
from jphys.reliability.audit import AuditConfig

ANI = peer_ani.NAME.lower()


@dataclasses.dataclass(frozen=True)
class Config:
    """Whom to judge, how much, where."""

    subjects: tuple[str, ...] = ("qm9-small", "mmff94", "gfn2-xtb")
    """As `jphys audit` takes them, or ani-1x."""
    ani_python: str | None = None
    """Interpreter with torchani, for ani-1x."""
    preset: Literal["smoke", "full"] = "full"
    """smoke: few molecules, few steps."""
    run: Path = Path("runs/audits")
    """Folder of the pages."""
    output: Path | None = None
    """Folder of results; where not given docs/results/reliability, for smoke that of the pages."""


def main(config: Config) -> None:
    """Audit all, copy what the docs show."""
    smoke = config.preset == "smoke"
    how = AuditConfig(molecules=4, steps=20, dynamics_ps=0.01, curves=2) if smoke else AuditConfig()
    ani = peer_ani.surface(config.ani_python) if ANI in config.subjects else None
    for subject in config.subjects:
        if subject != ANI:
            subject_of(subject)  # a typo is refused before anything is measured
    for subject in config.subjects:
        folder = config.run / subject.replace(":", "-").replace("/", "-")
        print(f"{subject}:")
        run_audit(Audit(subject, folder, config=how), ani if subject == ANI else None)
        kept = config.output or (config.run if smoke else shared.RESULTS)
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "audit.json", kept / f"audit-{folder.name}.json")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"error: {error}")
