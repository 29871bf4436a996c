"""A function over many arguments, in processes of their own.

Programs of their own, not started by `multiprocessing`: that would run the script of the user anew in each.
"""

import collections
import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, cast

import jax
import numpy as np

__all__ = ["doubles", "in_processes", "n_cores"]

PROGRAM = "from jphys import workers; workers.serve()"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def n_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def doubles() -> bool:
    """Whether JAX computes in float64 here, by its configuration or in a context."""
    return jax.dtypes.canonicalize_dtype(np.float64) == np.float64


def in_processes(
    function: Callable[[Any], Any], arguments: Iterable[Any], n: int
) -> Generator[Any, None, None]:
    """function(argument) of each, in order, computed in `n` processes that see the CPU alone.

    They compute in the precision of this process.

    Args:
        function: of a module, found there by its name; what it takes and gives can be pickled.
        arguments: one call each.
        n: processes.

    Raises:
        RuntimeError: for a process that ended before it answered.
        Exception: what a call raised.
    """
    idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    processes = [_start() for _ in range(n)]
    for process in processes:
        idle.put(process)

    def ask(argument):
        process = idle.get()
        try:
            return _ask(process, function, argument)
        finally:
            idle.put(process)

    threads, asked = ThreadPoolExecutor(n), collections.deque[Future[Any]]()
    try:
        for argument in arguments:  # not all of them at once, which may be large
            asked.append(threads.submit(ask, argument))
            if len(asked) > 2 * n:
                yield asked.popleft().result()
        for answer in asked:
            yield answer.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        threads.shutdown()
        for process in processes:
            process.communicate()


def _start() -> subprocess.Popen[bytes]:
    here = {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(int(doubles())),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | ONE_THREAD | here,
    )


def _ask(process: subprocess.Popen[bytes], function, argument):
    questions, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    try:
        pickle.dump((function, argument), questions)
        questions.flush()
        failed, answer = pickle.load(answers)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
        raise RuntimeError(f"a worker process ended with status {process.wait()}") from error
    if failed:
        raise answer
    return answer


def serve() -> None:
    """What such a process does: it answers calls until nobody asks."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints is no answer
    while True:
        try:
            function, argument = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = False, function(argument)
        except Exception as error:  # whatever it is, the caller gets it
            answer = True, error
        answers.write(pickle.dumps(answer))  # whole or not at all
        answers.flush()
