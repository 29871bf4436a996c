"""Dynamics with the pretrained potential: the total energy stays, thermostats give Maxwell's law.

The checks are those of the package physical-validation (Merz & Shirts 2018,
doi:10.1371/journal.pone.0202764).
"""

import ase
import jax
import numpy as np
import pytest
from ase.build import molecule
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation

import jphys
from jphys import units
from jphys.data.qm9 import load_small

# jax-md asks for float64 sums, which JAX gives only where it is enabled.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")


@pytest.fixture(scope="module")
def validation():
    """The package; pymbar, which it imports, turns float64 on when it solves, which is not needed here."""
    import physical_validation

    yield physical_validation
    assert not jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture(scope="module")
def molecules() -> list[ase.Atoms]:
    """Eight of QM9's, 9 to 17 atoms, with rings, nitriles and amides."""
    data = load_small()
    ends = np.cumsum(data.n_atoms)
    chosen = np.random.default_rng(0).permutation(len(data.n_atoms))[:8]
    rows = [slice(ends[index] - data.n_atoms[index], ends[index]) for index in chosen]
    return [ase.Atoms(data.species[row], data.positions[row]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("index", range(8))
def test_the_total_energy_stays(pretrained, molecules, validation, index):
    """5 ps at 0.5 fs without drift, and a fluctuation that falls as the square of the time step.

    Velocity Verlet conserves an energy that is dt² away from the true one: with a surface that has a jump
    in its force, or forces that are not its gradient, both fail. At 0.5 fs the next order, dt⁴, is up to a
    fifth of it. From rest, half of the kinetic energy of 600 K goes into the bonds.
    """
    (potential, params), atoms, found = pretrained, molecules[index], {}
    for dt, duration in ((0.5, 5000), (0.25, 500), (0.125, 500)):
        found[dt] = jphys.simulate(
            potential,
            params,
            atoms,
            steps=round(duration / dt),
            every=round(5 / dt),
            dynamics=jphys.Dynamics(dt=dt, temperature=600.0),
            seed=index,
            progress=False,
        )
    whole = found[0.5]
    assert 200 < whole.temperature[100:].mean() < 500
    slope = np.polyfit(whole.time, whole.conserved, 1)[0]
    drift = 1e6 * slope / len(atoms)
    assert abs(drift) < 0.1  # meV per atom and ps; what was found: docs/performance.md
    assert np.ptp(whole.conserved) < 1.5e-3 * len(atoms)
    runs = {dt: run.conserved[run.time <= 500] for dt, run in found.items()}
    for pair, deviation in (((0.5, 0.25), 0.3), ((0.25, 0.125), 0.15)):
        data = [
            validation.data.SimulationData(
                dt=dt, observables=validation.data.ObservableData(constant_of_motion=runs[dt])
            )
            for dt in pair
        ]
        assert validation.integrator.convergence(data, verbose=False) < deviation


@pytest.mark.parametrize(
    ("ensemble", "steps", "resting", "wrong"),
    [
        pytest.param("nvt_langevin", 30_000, 0, 3, marks=pytest.mark.slow),
        pytest.param("nvt_nose_hoover", 30_000, 3, 0, marks=pytest.mark.slow),
        pytest.param("nvt_nose_hoover", 30_000, 6, 3, marks=pytest.mark.slow),
    ],
)
def test_kinetic_energies_are_those_of_the_temperature(
    pretrained, validation, ensemble, steps, resting, wrong
):
    """Maxwell and Boltzmann's distribution at 300 K for the right degrees of freedom.

    Samples are 0.08 ps apart, their integrated correlation time: those that the package thins out by itself
    are still correlated, and their means miss by more than their standard errors say.

    Nosé–Hoover's centre of mass rests, and a molecule that did not rotate does not begin to; Langevin's do
    both. With three degrees of freedom more or fewer, the same samples are refused.
    """
    (potential, params), atoms = pretrained, molecule("CH3OH")
    if resting == 6:
        MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
        Stationary(atoms)
        ZeroRotation(atoms)
    found = jphys.simulate(
        potential,
        params,
        atoms,
        steps=steps,
        dynamics=jphys.Dynamics(ensemble=ensemble, dt=0.5, temperature=300.0, friction=0.05),
        progress=False,
    )
    kinetic = found.kinetic[20::8]  # after 0.2 ps
    freedom = 3 * len(atoms) - resting
    np.testing.assert_allclose(found.temperature, 2 * found.kinetic / (freedom * units.KELVIN), rtol=1e-5)

    def check(n_resting, **settings):
        data = validation.data.SimulationData(
            units=validation.data.UnitData(units.KELVIN, 96.485, 0.1, 1e-3, 1.0, 1e4, 1e-3),
            system=validation.data.SystemData(
                natoms=len(atoms), nconstraints=0, ndof_reduction_tra=n_resting, ndof_reduction_rot=0
            ),
            ensemble=validation.data.EnsembleData("NVT", natoms=len(atoms), volume=1.0, temperature=300.0),
            observables=validation.data.ObservableData(kinetic_energy=kinetic),
        )
        settings |= {"verbosity": 0, "bootstrap_seed": 0, "data_is_uncorrelated": True}
        return validation.kinetic_energy.distribution(data, **settings)

    assert check(resting, strict=True) > 0.005  # Kolmogorov and Smirnov's p
    mean, width = check(resting)  # in standard errors
    assert mean < 3 and width < 3
    assert check(wrong, strict=True) < 1e-4
