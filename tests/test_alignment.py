"""Best rigid motion against scipy and against motions that are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jphys.alignment import align, kabsch_distance


def points(kind, rng):
    scale = {"solid": (1, 1, 1), "planar": (1, 1, 0), "linear": (1, 0, 0), "one": (1, 1, 1)}[kind]
    return rng.normal(size=(1 if kind == "one" else 7, 3)) * scale


@pytest.mark.parametrize("kind", ["solid", "planar", "linear", "one"])
def test_a_rigid_motion_is_no_distance(kind, rng):
    a = points(kind, rng)
    moved = a @ Rotation.from_rotvec([1.0, 0.5, -1.0]).as_matrix().T + [3.0, -2.0, 7.0]
    assert kabsch_distance(a, moved) < 1e-7
    np.testing.assert_allclose(align(a, moved), moved, atol=1e-7)


@pytest.mark.parametrize("kind", ["solid", "planar"])
def test_agrees_with_scipy(kind, rng):
    a = points(kind, rng)
    b = a @ Rotation.from_rotvec([1.0, 0.5, -2.0]).as_matrix().T + rng.normal(size=a.shape) * 0.2
    centred = b - b.mean(0)
    rotation = Rotation.align_vectors(centred, a - a.mean(0))[0]
    expected = np.linalg.norm(rotation.apply(a - a.mean(0)) - centred, axis=1).mean()
    assert kabsch_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_a_mirror_image_is_not_the_same(rng):
    a = points("solid", rng)
    assert kabsch_distance(a, a * [1, 1, -1]) > 0.1
    planar = points("planar", rng)
    assert kabsch_distance(planar, planar * [1, -1, 1]) < 1e-7  # turned over in space


def test_a_batch_with_padding_is_each_alone(rng):
    a, b = rng.normal(size=(2, 5, 6, 3))
    mask = np.arange(6) < np.array([6, 5, 4, 3, 2])[:, None]
    together = kabsch_distance(a, b, mask)
    alone = [kabsch_distance(x[m], y[m]) for x, y, m in zip(a, b, mask, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-9)
