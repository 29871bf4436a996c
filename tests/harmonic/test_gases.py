"""Ideal gases: QM9's own numbers from QM9's own wavenumbers, and the zero-point energy counted once."""

import numpy as np
import pytest
from ase.build import molecule

import jphys
from jphys.evaluation import energies
from jphys.graph import from_ase
from jphys.harmonic import Vibrations, ideal_gas
from jphys.units import HARTREE

# dsgdb9nsd_000001, methane: geometry, cm⁻¹, and in Hartree zero-point energy, U0, U, H and G at 298.15 K.
METHANE = np.array(
    [
        [-0.0126981359, 1.0858041578, 0.0080009958],
        [0.0021504160, -0.0060313176, 0.0019761204],
        [1.0117308433, 1.4637511618, 0.0002765748],
        [-0.5408150690, 1.4475266138, -0.8766437152],
        [-0.5238136345, 1.4379326443, 0.9063972942],
    ]
)
WAVENUMBERS = [
    1341.307,
    1341.3284,
    1341.365,
    1562.6731,
    1562.7453,
    3038.3205,
    3151.6034,
    3151.6788,
    3151.7078,
]
ZERO_POINT, U0, U, H, G = 0.044749, -40.47893, -40.476062, -40.475117, -40.498597


def made_of(wavenumbers, n_atoms):
    """Modes of which only the wavenumbers are known."""
    return Vibrations(np.array(wavenumbers), np.zeros((len(wavenumbers), n_atoms, 3)))


def test_methane_of_qm9():
    """To the last digit of its numbers, 1e-6 Hartree. Its free energies are those of symmetry number 1."""
    modes = made_of(WAVENUMBERS, 5)
    electronic = (U0 - ZERO_POINT) * HARTREE
    gas = ideal_gas([6, 1, 1, 1, 1], METHANE, modes, electronic)
    assert gas.zero_point == pytest.approx(ZERO_POINT * HARTREE, abs=2e-4)
    for found, expected in ((gas.internal, U), (gas.enthalpy, H), (gas.gibbs, G)):
        assert found == pytest.approx(expected * HARTREE, abs=3e-5)
    assert gas.gibbs == gas.enthalpy - 298.15 * gas.entropy
    real = ideal_gas([6, 1, 1, 1, 1], METHANE, modes, electronic, symmetry_number=12)
    assert real.gibbs - gas.gibbs == pytest.approx(298.15 * jphys.units.KELVIN * np.log(12))


def test_of_the_shipped_model_the_zero_point_energy_counts_once(pretrained, at_rest):
    """Methane's U − U0 and H − U0 within 10 meV of QM9's, G − U0 too."""
    graphs = at_rest("CH4")
    (gas,) = jphys.thermochemistry(pretrained[0], pretrained[1], graphs)
    label = float(energies(pretrained[0], pretrained[1], graphs)[0])
    assert gas.electronic + gas.zero_point == pytest.approx(label, abs=1e-5)
    assert gas.internal - label == pytest.approx((U - U0) * HARTREE, abs=0.01)
    assert gas.gibbs - label == pytest.approx((G - U0) * HARTREE, abs=0.01)
    (twice,) = jphys.thermochemistry(pretrained[0], pretrained[1], graphs, zero_point_included=False)
    assert twice.electronic == pytest.approx(label, abs=1e-5)
    assert twice.internal - gas.internal == pytest.approx(gas.zero_point, abs=1e-5)


def test_many_molecules_one_atom_and_a_line(pretrained, at_rest):
    graphs = at_rest("H2O", "C2H2", "CH4")
    found = jphys.thermochemistry(
        pretrained[0], pretrained[1], graphs, symmetry_numbers=[2, 2, 12], temperature=400.0
    )
    assert [len(gas.vibrations.wavenumbers) for gas in found] == [3, 7, 9]
    for gas in found:
        assert gas.enthalpy - gas.internal == pytest.approx(400 * jphys.units.KELVIN)
    argon = ideal_gas([18], [[0.0, 0.0, 0.0]], made_of([], 1))
    assert argon.internal == pytest.approx(1.5 * 298.15 * jphys.units.KELVIN)
    # Sackur and Tetrode at one atmosphere and 298.15 K, 154.7 J/(mol K)
    assert argon.entropy * 96485.33 == pytest.approx(154.74, abs=0.05)


def test_radicals_and_saddles():
    still = ideal_gas([6, 1, 1, 1, 1], METHANE, made_of(WAVENUMBERS, 5))
    radical = ideal_gas([6, 1, 1, 1, 1], METHANE, made_of(WAVENUMBERS, 5), spin=0.5)
    assert radical.entropy - still.entropy == pytest.approx(jphys.units.KELVIN * np.log(2))
    saddle = ideal_gas([6, 1, 1, 1, 1], METHANE, made_of([-500.0, *WAVENUMBERS[1:]], 5), 1.0)
    assert saddle.electronic == 1.0 and np.isnan([saddle.internal, saddle.entropy, saddle.gibbs]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0.0"),
        ({"pressure": -1.0}, "pressure must be positive and finite, got -1.0"),
        ({"symmetry_numbers": 0}, "symmetry numbers must be whole numbers from 1, got 0"),
        ({"symmetry_numbers": [2, 1]}, "symmetry_numbers must be one value or one per graph, 1, got 2"),
        ({"spins": 0.3}, "spins must be 0, 0.5, 1, …, got 0.3"),
    ],
)
def test_numbers_that_no_gas_has(settings, message, pretrained):
    with pytest.raises(ValueError, match=message):
        jphys.thermochemistry(pretrained[0], pretrained[1], [from_ase(molecule("H2O"))], **settings)


def test_modes_of_another_molecule_are_refused():
    with pytest.raises(
        ValueError, match="vibrations must have 3n − 6 or 3n − 5 modes for n = 3 atoms, got 2"
    ):
        ideal_gas([8, 1, 1], np.eye(3), made_of([1000.0, 2000.0], 3))


def test_who_does_not_say_what_its_energies_hold_is_asked(fresh):
    potential, params = fresh
    with pytest.raises(ValueError, match="zero_point_included must say whether the energies hold"):
        jphys.thermochemistry(potential, params, [from_ase(molecule("H2O"))])
    assert jphys.load("qm9-small")[0].config.zero_point is True
    assert jphys.load("vimpnn-qm9")[0].config.zero_point is False
