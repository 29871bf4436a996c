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
        ValueError: if the displacement function says otherwise, or there is no box.
    """
    if box is None:
        if given:
            raise ValueError("fractional_coordinates must not be set in free space (box None)")
        return False
    if displacement_fn is None:
        return np.ndim(box) == 2 if given is None else given
    # By differences: jax-md's own derivative of fractional positions is the one of real positions.
    origin = jnp.zeros(3)
    steps = np.asarray(jax.vmap(lambda end: displacement_fn(end, origin))(0.01 * jnp.eye(3))) / 0.01
    found = not np.allclose(steps, np.eye(3), atol=1e-3)
    if given is not None and given != found and not np.allclose(as_matrix(box), np.eye(3)):
        raise ValueError(f"fractional_coordinates must be {found}, as displacement_fn has it, got {given}")
    return found
