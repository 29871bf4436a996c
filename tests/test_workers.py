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
    answers = in_processes(time.sleep, itertools.repeat(0.01), 2)
    next(answers)
    answers.close()


def test_an_error_comes_back():
    with pytest.raises(ValueError, match="negative"):
        list(in_processes(math.factorial, [3, -1], 1))


def test_a_process_that_ends_is_no_silence():
    with pytest.raises(RuntimeError, match="a worker process ended with status 7"):
        list(in_processes(os._exit, [7], 1))
