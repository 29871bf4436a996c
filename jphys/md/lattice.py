"""The box of a simulation: how positions are given in it, and what they are in Å."""

import jax
import jax.numpy as jnp
import numpy as np
from jax_md import space


def as_matrix(box):
    """A jax-md box as (3, 3) with lattice vectors as columns, Å."""
    box = jnp.asarray(box, float)
    return box if box.ndim == 2 else jnp.eye(3, dtype=box.dtype) * box


class Lattice:
    """How positions and boxes are given, and how they become fractional ones."""

    def __init__(self, box, fractional: bool):
        self.periodic, self.fractional = box is not None, fractional
        self.default = jnp.eye(3)
        if box is not None:
            fits = np.shape(box) in ((), (1,), (3,), (3, 3))
            volume = abs(float(jnp.linalg.det(as_matrix(box)))) if fits else 0.0
            if not (np.isfinite(volume) and volume > 1e-6):
                raise ValueError(f"box must be a length, (3,) or (3, 3) with a volume above 0, got {box}")
            self.default = as_matrix(box)

    @property
    def rows(self) -> np.ndarray | None:
        """Lattice vectors of the given box as rows (3, 3) Å; None in free space."""
        return np.asarray(self.default, np.float64).T if self.periodic else None

    def matrix(self, box):
        """(3, 3) Å, columns are lattice vectors; of free space the unit matrix."""
        if not self.periodic and box is not None:
            raise ValueError("box must not be given in free space")
        return self.default if box is None else as_matrix(box)

    def to_fractional(self, R, matrix):
        """Positions in units of the lattice vectors."""
        return R if self.fractional or not self.periodic else R @ jnp.linalg.inv(matrix).T

    def to_real(self, R, matrix):
        """Positions in Å; gradients pass as jax-md has them."""
        return space.transform(matrix, R) if self.fractional else R

    def place(self, R, matrix, perturbation=None):
        """Positions (n, 3) and cell (3, 3) with lattice vectors as rows, Å, both strained by jax-md's
        `perturbation`; in free space the cell is 0."""
        positions, cell = self.to_real(R, matrix), matrix.T.astype(R.dtype)
        if perturbation is not None:
            strain = jnp.asarray(perturbation)
            positions, cell = (space.raw_transform(strain, rows) for rows in (positions, cell))
        return positions, cell if self.periodic else jnp.zeros_like(cell)


def heights(matrix):
    """Distances (3,) between opposite faces, Å."""
    return 1.0 / jnp.linalg.norm(jnp.linalg.inv(matrix), axis=1)


def is_fractional(box, displacement_fn, given: bool | None) -> bool:
    """Whether positions are in units of the lattice vectors, from what a user says of it.

    Raises:
        ValueError: if the displacement function says otherwise or is that of another box, or there is no box.
    """
    if box is None:
        if given:
            raise ValueError("fractional_coordinates must not be set in free space (box None)")
        return False
    if displacement_fn is None:
        return np.ndim(box) == 2 if given is None else given
    matrix = np.asarray(Lattice(box, False).default, np.float64)
    found = not np.allclose(slopes(displacement_fn), np.eye(3), atol=1e-3)
    if given is not None and given != found and not np.allclose(matrix, np.eye(3)):
        raise ValueError(f"fractional_coordinates must be {found}, as displacement_fn has it, got {given}")
    if not _has_the_images_of(displacement_fn, matrix, np.eye(3) if found else matrix):
        raise ValueError(f"box must be that of displacement_fn, got {box}")
    return found


def slopes(displacement_fn) -> np.ndarray:
    """How the displacement in Å (rows) grows with each coordinate (columns).

    By differences: jax-md's own derivative of fractional positions is the one of real positions.
    """
    return seen(displacement_fn, 0.01 * np.eye(3)).T / 0.01


def is_free(displacement_fn) -> bool:
    """Whether the displacement has no images: at any distance up to 10⁶ Å."""
    direction = np.array([0.3, 0.5, np.sqrt(0.66)])
    ends = 10.0 ** np.arange(-1, 7)[:, None] * direction
    return np.allclose(seen(displacement_fn, ends), ends @ slopes(displacement_fn).T, rtol=1e-3)


def seen(displacement_fn, ends) -> np.ndarray:
    """Displacements (k, 3) Å from the origin to the ends (k, 3)."""
    origin = jnp.zeros(3)
    return np.asarray(
        jax.vmap(lambda end: displacement_fn(end, origin))(jnp.asarray(ends, float)), np.float64
    )


def _has_the_images_of(displacement_fn, matrix, unit) -> bool:
    """Whether its images are those of the box (3, 3) Å, given what it takes for the lattice vectors: `unit`.

    It takes lattice vectors for 0, and elsewhere takes off nothing but lattice vectors.
    """
    inverse, places = np.linalg.inv(matrix).T, np.random.default_rng(0).uniform(-2.0, 2.0, (100, 3))
    taken_off = (places @ matrix.T - seen(displacement_fn, places @ unit.T)) @ inverse
    rest = seen(displacement_fn, unit.T) @ inverse
    return bool(np.abs(taken_off - np.round(taken_off)).max() < 1e-3 and np.abs(rest).max() < 1e-3)
