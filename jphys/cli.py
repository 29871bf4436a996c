"""The console script `jphys`."""

import dataclasses
import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import tyro

from jphys import checkpoint, runs
from jphys.models import Potential
from jphys.reliability import mmff94, xtb
from jphys.reliability.audit import CHECKS, AuditConfig, Check, audit
from jphys.reliability.surface import Surface, surface_of
from jphys.version import VERSION

__all__ = ["Audit", "main", "run_audit", "subject_of"]

KNOWN = {"mmff94": mmff94.surface, "gfn2-xtb": xtb.surface}


@dataclasses.dataclass(frozen=True)
class Audit:
    """Judge a potential for molecules: recovery, assembly, repulsion, smoothness, invariance, conservation,
    frequencies and torsions beside density functional theory.

    Writes audit.json, after every check, and audit.html at the end. The exit status is 0 where every check
    passed, 1 where one did not, 2 where there is nothing to audit. A case without an answer is reported,
    the audit goes on.
    """

    subject: tyro.conf.Positional[str]
    """A pretrained name (qm9-small), the folder of a run or checkpoint, mmff94, gfn2-xtb, or module:function
    that returns a calculator of ASE or (potential, params)."""
    output: Path = Path("audit")
    """Folder to write to."""
    seed: int = 0
    """Of noise, choices and velocities."""
    config: tyro.conf.OmitArgPrefixes[AuditConfig] = dataclasses.field(default_factory=AuditConfig)


@dataclasses.dataclass(frozen=True)
class Models:
    """List the pretrained models."""


def subject_of(name: str) -> Surface:
    """The surface of a subject.

    Raises:
        ValueError: if a module, function or checkpoint is not there; says which.
        ImportError: for GFN2-xTB without tblite.
    """
    if name in KNOWN:
        return KNOWN[name]()
    if name in checkpoint.pretrained_names() or _is_trained(Path(name)):
        return surface_of(*checkpoint.load(name))
    if ":" not in name:
        known = ", ".join([*checkpoint.pretrained_names(), *KNOWN])
        raise ValueError(f"subject must be of {known}, a checkpoint or module:function, got {name!r}")
    module, _, function = name.partition(":")
    sys.path.insert(0, "")  # the user's own modules, as with python -m
    try:
        made: Any = getattr(importlib.import_module(module), function)()
        if isinstance(made, type | Potential):
            raise TypeError(f"it must return a calculator, or (potential, params), got {made!r}")
        return surface_of(*made) if isinstance(made, tuple) else surface_of(made)
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"subject must be a module:function to call, got {name!r}: {reason}") from error


def _is_trained(folder: Path) -> bool:
    return checkpoint.is_checkpoint(folder) or checkpoint.is_checkpoint(folder / "best")


def split_of(name: str) -> int | None:
    """The seed of the split that a run of train.py held its test part out by; None for anything else."""
    if name in KNOWN or name in checkpoint.pretrained_names() or not _is_trained(Path(name)):
        return None
    for folder in (Path(name), Path(name).absolute().parent):
        try:
            record = json.loads((folder / "config.json").read_text("utf-8"))
            fields = record["fields"] if record["class"] == "TrainConfig" else {}
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if fields.get("data") in ("qm9-small", "small"):
            return int(fields["seed"])
    return None


def run_audit(config: Audit, surface: Surface | None = None) -> int:
    """Audit, write, print; the exit status.

    Args:
        config: what, how much, where.
        surface: what is judged where the subject is a name that `subject_of` does not know.
    """
    from jphys.figures.audit import audit_page  # matplotlib and jax-md take seconds to import

    surface = subject_of(config.subject) if surface is None else surface
    asked, split = config.config, split_of(config.subject)
    if split is not None and split != asked.split:
        print(f"asked: the test part of this run, split {split}")
        asked = dataclasses.replace(asked, split=split)
    config.output.mkdir(parents=True, exist_ok=True)
    environment, problems = runs.environment(), getattr(surface, "problems", {})

    def keep(checks: list[Check]) -> None:
        record = {"subject": config.subject, "checks": [dataclasses.asdict(check) for check in checks]}
        record |= {"finished": len(checks) == len(CHECKS), "config": dataclasses.asdict(asked)}
        record |= {"problems": dict(problems), "environment": environment}
        runs.write_json(config.output / "audit.json", record)

    checks = audit(surface, config=asked, seed=config.seed, progress=True, keep=keep)
    made_with = json.dumps(environment["packages"])
    page = config.output / "audit.html"
    audit_page(checks, page, subject=config.subject, problems=dict(problems), made_with=made_with)
    for check in checks:
        value = "no answer" if check.value is None else f"{check.value:.3g} {check.unit}"
        print(
            f"{'passed' if check.passed else 'FAILED'}  {check.name:16s} {value:>14s}  limit {check.bounds}"
        )
        if "error" in check.details or check.details.get("off"):
            print(f"        {check.what}")
    for reason, n in problems.items():
        print(f"no answer {n} times: {reason}")
    print(f"written: {page}")
    return 0 if all(check.passed for check in checks) else 1


def show_models() -> int:
    """Names and first lines of the models in the package; the exit status."""
    for name in checkpoint.pretrained_names():
        title = (checkpoint.PRETRAINED / name / "card.md").read_text("utf-8").splitlines()[0]
        print(f"{name:16s} {title.lstrip('# ')}")
    return 0


def main() -> None:
    """Entry point."""
    if sys.argv[1:] == ["--version"]:
        print(f"jphys {VERSION}")
        sys.exit()
    commands = (
        Annotated[Audit, tyro.conf.subcommand("audit")] | Annotated[Models, tyro.conf.subcommand("models")]
    )
    command = tyro.cli(commands, description="jphys: potentials that can be trusted as physics.")
    try:
        sys.exit(run_audit(command) if isinstance(command, Audit) else show_models())
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception:  # 1 is the status of a check that failed
        traceback.print_exc()
        sys.exit(2)
