"""Another library in a process of its own: one line in, one piece of work, one line of JSON out."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def check(python: str, module: str, name: str, package: str, *, flag: str = "--peer-python") -> None:
    """Stop with what to install where the interpreter does not have the library, or one without that name."""
    command = [python, "-c", f"import numpy; from {module} import {name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SystemExit(f"{flag} must be an interpreter, got {python}: {error.strerror}") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SystemExit(f"{flag} must be an interpreter after pip install {package}, got: {reason}")


class Peer:
    """The process of a script whose `serve` answers; `answer` is what it said last."""

    def __init__(self, python: str, script: str, task: dict[str, Any]):
        file = Path(tempfile.mkdtemp(prefix="peer-")) / "task.json"
        file.write_text(json.dumps(task), "utf-8")
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "JAX_"))
        }
        command = [python, script, str(file)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own
        )
        self.script, self.answer = script, {}

    def work(self, request: Any) -> None:
        """One piece of work, asked by a number or any other JSON; returns when it is done."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            asked = json.dumps(request)[:80]
            raise RuntimeError(f"{Path(self.script).name} must answer request {asked}, got no answer")
        self.answer = json.loads(line)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def serve(make: Callable[[dict[str, Any]], Callable[[], dict[str, Any]]]) -> None:
    """The other side: make the work of the task, then do it once per line and print what it returns."""

    def ignoring(task: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
        work = make(task)
        return lambda request: work()

    serve_requests(ignoring)


def serve_requests(make: Callable[[dict[str, Any]], Callable[[Any], dict[str, Any]]]) -> None:
    """The same for work that depends on the request."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    work = make(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), file=answers, flush=True)
