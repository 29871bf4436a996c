"""Two atoms on one spot, against distances to all images one by one."""

import itertools

import numpy as np
import pytest

from jphys.data.contacts import CLOSEST, check_apart, first_contact

CELL = np.array([[6.0, 0.0, 0.0], [2.5, 5.0, 0.0], [-1.0, 1.5, 4.0]])


def _nearest(positions, cell) -> float:
    shifts = [np.array(image) @ cell for image in itertools.product((-3, -2, -1, 0, 1, 2, 3), repeat=3)]
    pairs = itertools.combinations(positions, 2)
    return min(float(np.linalg.norm(b + shift - a)) for a, b in pairs for shift in shifts)


def _refused(positions, cell=None) -> bool:
    try:
        check_apart(positions, "file, frame 3", cell)
    except ValueError as error:
        return str(error).startswith("file, frame 3: atoms must be 0.001 Å apart or more")
    return False


@pytest.mark.parametrize("distance", [0.0, 0.9 * CLOSEST, 1.1 * CLOSEST])
@pytest.mark.parametrize("image", [(0, 0, 0), (1, 0, 0), (0, -1, 2), (-1, 1, 1)])
def test_images_of_a_skewed_cell_count(distance, image):
    rng = np.random.default_rng(1)
    positions = rng.random((6, 3)) @ CELL
    positions[2] = 0.0  # on the corner, where wrapping jumps
    direction = rng.standard_normal(3)
    positions[5] = positions[2] + distance * direction / np.linalg.norm(direction) + np.array(image) @ CELL
    assert _refused(positions, CELL) == (_nearest(positions, CELL) < CLOSEST) == (distance < CLOSEST)
    assert _refused(positions) == (distance < CLOSEST and image == (0, 0, 0))


def test_first_contact_names_molecule_and_atoms():
    molecules = [np.zeros((1, 3)), np.zeros((1, 3)), np.arange(12.0).reshape(4, 3), np.eye(3)]
    n_atoms = np.array([1, 1, 4, 3], np.uint8)
    assert first_contact(np.concatenate(molecules), n_atoms) is None
    molecules[2][3] = molecules[2][1] + [0.0, 0.0, 4e-4]
    found = first_contact(np.concatenate(molecules), n_atoms)
    assert found is not None
    assert found[:3] == (2, 1, 3)
    assert found[3] == pytest.approx(4e-4)
    assert first_contact(np.zeros((2, 3)), np.array([1, 1])) is None
