"""Calls in other processes: order, what they raise, what becomes of one that dies."""

import itertools
import math
import os
import time

import jax
import numpy as np
import pytest

from jphys.workers import in_processes


def test_answers_come_in_order():
    assert list(in_processes(math.factorial, range(9), 2)) == [math.factorial(n) for n in range(9)]


def test_what_a_call_prints_is_no_answer():
    assert list(in_processes(print, ["printed"], 1)) == [None]


def test_they_compute_in_the_precision_of_this_process(x64):
    (found,) = in_processes(jax.dtypes.canonicalize_dtype, [np.float64], 1)
    assert found == np.float64


def test_who_stops_asking_waits_for_nothing():
    """Not for the minutes that the others sleep; and few arguments were taken out of endlessly many."""
    taken = []

    def seconds():
        for number in itertools.count():
            taken.append(number)
            yield 600.0 if number else 0.01

    began, answers = time.monotonic(), in_processes(time.sleep, seconds(), 2)
    assert next(answers) is None
    answers.close()
    assert len(taken) == 5 and time.monotonic() - began < 300


def test_an_error_comes_back():
    with pytest.raises(ValueError, match="negative"):
        list(in_processes(math.factorial, [3, -1], 1))


def test_a_process_that_ends_is_no_silence():
    with pytest.raises(RuntimeError, match="a worker process ended with status 7"):
        list(in_processes(os._exit, [7], 1))
