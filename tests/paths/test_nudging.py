"""Bands on surfaces whose passes are known, and beside ASE's."""

import os

import ase.mep
import ase.optimize
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from known_surfaces import CUTOFF, EPSILON, ONSET, SIGMA, WELLS, as_potential, at, lennard_jones, muller_brown

from jphys.graph import from_ase
from jphys.paths import neb

PASSES = {
    (0, 2): 1.06035,
    (0, 1): 1.06035,
    (2, 1): 0.35919,
}  # −0.40665 and −0.72249, above −1.46700, −1.08167


@pytest.fixture(scope="module")
def passes():
    """The bands between all wells at once, on the surface of Müller and Brown."""
    bands = [(at(WELLS[a]), at(WELLS[b])) for a, b in PASSES]
    return neb(muller_brown, jnp.float32(1.0), bands, images=9, fmax=0.01, relax_ends=True, n_lanes=2)


def test_it_finds_the_passes_of_muller_and_brown(passes):
    assert passes.converged.all()
    np.testing.assert_allclose(passes.barrier, list(PASSES.values()), atol=2e-4)
    assert passes.reverse_barrier[0] == pytest.approx(1.08167 - 0.40665, abs=2e-4)
    place = passes.saddle[0].nodes.positions[0]
    np.testing.assert_allclose(place, [-0.822, 0.624, 0.0], atol=5e-3)


def test_forward_and_back_are_one_path():
    forth, back = neb(
        muller_brown,
        jnp.float32(1.0),
        [(at(WELLS[0]), at(WELLS[1])), (at(WELLS[1]), at(WELLS[0]))],
        images=9,
        fmax=0.01,
        relax_ends=True,
    ).energies
    np.testing.assert_allclose(forth, back[::-1], atol=2e-3)


def test_bands_do_not_feel_each_other():
    """Two atoms on the surface at once: with one minimiser for both they find the same."""
    together = neb(
        muller_brown,
        jnp.float32(1.0),
        [(at(WELLS[0], WELLS[2]), at(WELLS[1], WELLS[2]))],
        images=9,
        fmax=0.01,
        relax_ends=True,
    )
    assert together.converged.all()
    assert together.barrier[0] == pytest.approx(PASSES[0, 1], abs=2e-4)


def test_without_climbing_the_highest_image_stays_below_the_pass():
    bands = [(at(WELLS[0]), at(WELLS[2]))]
    settings = {"images": 5, "fmax": 0.01, "relax_ends": True, "spring": 3.0}
    low = neb(muller_brown, jnp.float32(1.0), bands, climb=False, **settings)
    high = neb(muller_brown, jnp.float32(1.0), bands, **settings)
    assert low.barrier[0] < high.barrier[0] - 0.01 and high.barrier[0] == pytest.approx(1.06035, abs=2e-4)


def vacancy():
    """Two crystals with a vacancy; between them a neighbour hops into it, across the boundary of the cell."""
    crystal = bulk("Cu", a=3.55, cubic=True) * (2, 2, 2)
    first = crystal[1:]
    hopping = int(np.argmin(np.linalg.norm(first.positions - [5.325, 5.325, 0.0], axis=1)))
    last = first.copy()
    last.positions[hopping] = 0.0
    return first, last


def barrier_of_ase(first, last, calculator, images, fmax):
    chain = [first.copy() for _ in range(images + 1)] + [last.copy()]
    for atoms in chain:
        atoms.calc = calculator()
    for atoms in (chain[0], chain[-1]):
        ase.optimize.BFGS(atoms, logfile=os.devnull).run(fmax=fmax)
    band = ase.mep.NEB(chain, k=1.0, climb=True, method="improvedtangent", allow_shared_calculator=False)
    band.interpolate(mic=True)
    ase.optimize.FIRE(band, logfile=os.devnull).run(fmax=fmax, steps=500)
    energies = [atoms.get_potential_energy() for atoms in chain]
    return max(energies) - energies[0]


def lj():
    return LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, ro=ONSET, smooth=True)


def test_a_vacancy_hops_over_the_barrier_that_ase_finds():
    first, last = vacancy()
    bands = [tuple(from_ase(atoms, cutoff=CUTOFF) for atoms in (first, last))]
    found = neb(
        as_potential(lennard_jones), jnp.float32(EPSILON), bands, images=3, fmax=0.02, relax_ends=True
    )
    assert found.converged.all() and found.barrier[0] > 0.1
    assert found.barrier[0] == pytest.approx(barrier_of_ase(first, last, lj, 3, 0.02), abs=1e-3)
    assert found.barrier[0] == pytest.approx(found.reverse_barrier[0], abs=1e-3)
