"""Which static shape a size takes."""

from hypothesis import given
from hypothesis import strategies as st

from jphys.shapes import LADDER, Shapes, round_size, rung


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_rounding_adds_little_and_is_stable(size, digits):
    rounded = round_size(size, digits)
    assert size <= rounded <= size * (1 + 2.0 ** (1 - digits))
    assert round_size(rounded, digits) == rounded


@given(st.integers(0, 10**6), st.sampled_from([16, 64, 256, 4096]))
def test_rungs_hold_their_size(size, least):
    step = rung(size, least)
    assert step >= max(size, least) and rung(step, least) == step
    assert step < 4 * max(size, least) if step <= LADDER else step <= size * 17 / 16


def test_what_fits_compiles_nothing():
    shapes = Shapes(sum, spare=1000)
    assert shapes.choose((5, 50), (5, 56), (64, 256)) == (64, 256)
    assert shapes.choose((60, 250), (64, 256), (256, 1024)) == (64, 256)
    assert shapes.choose((65, 10), (80, 10), (256, 256)) == (256, 256)
    assert shapes.known == [(64, 256), (256, 256)]


def test_padding_that_costs_more_than_compiling_ends():
    shapes = Shapes(sum, spare=1000)
    shapes.choose((100, 900), (112, 1024), (256, 1024))
    taken = [shapes.choose((3, 6), (3, 6), (64, 256)) for _ in range(3)]
    assert taken == [(64, 256)] * 3  # less than half of the large one: generous again
    again = [shapes.choose((3, 6), (3, 6), (64, 256)) for _ in range(4)]
    assert again == [(64, 256), (3, 6), (3, 6), (3, 6)]
    assert shapes.known == [(256, 1024), (64, 256), (3, 6)]


def test_what_was_paid_for_is_not_paid_for_again():
    """Other sizes that fit into the large shape alone begin to count from zero."""
    shapes = Shapes(sum, spare=1000)
    shapes.choose((250, 1000), (256, 1024), (256, 1024))
    taken = [shapes.choose((230 + i, 500 + i), (230 + i, 500 + i), (256, 1024)) for i in range(4)]
    assert taken == [(256, 1024), (231, 501), (256, 1024), (233, 503)]  # 550 a call


def test_a_first_call_that_runs_often_is_tight():
    shapes = Shapes(sum, spare=1000)
    assert shapes.choose((200, 300), (208, 320), (256, 1024), calls=100) == (208, 320)


def test_one_call_that_runs_often_pays_for_its_own_shape():
    shapes = Shapes(sum, spare=1000)
    shapes.choose((60, 250), (64, 256), (64, 256))
    assert shapes.choose((3, 6), (3, 6), (64, 256), calls=100) == (3, 6)
