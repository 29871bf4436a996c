"""The command that makes a file, written out for its header: what the make_*.py scripts share."""

import shlex
from pathlib import Path


def command(script: str, **flags) -> str:
    """The command with the flags that were given.

    >>> command("make_x.py", engine="emt", max_size=18, output=None, smoke=True, again=False)
    'python experiments/make_x.py --engine emt --max-size 18 --smoke'

    Args:
        script: name of a file in experiments/.
        flags: by their names in Python; None and False stand for those that were not given.
    """
    words = ["python", f"experiments/{script}"]
    for name, value in flags.items():
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(value.as_posix() if isinstance(value, Path) else str(value))
    return shlex.join(words)
