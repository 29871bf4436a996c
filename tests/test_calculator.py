"""The ASE calculator against the graph path and finite differences; ASE's tools are in test_ase_tools.py."""

import ase
import jax
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.optimize import BFGS

from jphys.calculator import Calculator
from jphys.data.qm9 import load_small
from jphys.evaluation import evaluate
from jphys.graph import from_ase


def test_one_energy_on_both_paths(pretrained, calculator):
    potential, params = pretrained
    molecules = [molecule(name, calculator=calculator) for name in ("H2O", "C6H6", "CH3CONH2")]
    found = evaluate(potential, params, [from_ase(atoms) for atoms in molecules])
    for atoms, energy, forces in zip(molecules, *found):
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)
        assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-4)
        assert atoms.get_potential_energies().sum() == pytest.approx(energy, abs=1e-5)


@pytest.mark.parametrize("cell", ["one atom", "triclinic"])
def test_stress_and_forces_are_those_of_finite_differences(fresh, cell):
    atoms = bulk("Al", a=2.86)
    if cell == "triclinic":
        atoms = bulk("Al", a=4.05).repeat((2, 1, 1))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.triu(np.full((3, 3), 0.07), 1)), scale_atoms=True)
        atoms.rattle(0.05, seed=1)
    atoms.calc = Calculator(*fresh)
    stress = atoms.get_stress()
    np.testing.assert_allclose(
        stress, calculate_numerical_stress(atoms, eps=1e-3), atol=2e-3 * np.abs(stress).max() + 1e-5
    )
    # Energies are float32: larger steps than ASE's own.
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-2), atol=1e-3)


@pytest.mark.slow
def test_fifty_molecules_of_different_size_compile_few_times(pretrained, counting):
    potential, traces = counting(pretrained[0])
    calculator = Calculator(potential, pretrained[1])
    data = load_small()
    ends = np.cumsum(data.n_atoms)
    for index in np.random.default_rng(0).permutation(len(data.n_atoms))[:50]:
        rows = slice(ends[index] - data.n_atoms[index], ends[index])
        atoms = ase.Atoms(data.species[rows], data.positions[rows], calculator=calculator)
        assert np.isfinite(atoms.get_potential_energy())
    assert 1 <= len(traces) <= 6


def test_what_the_model_cannot_treat_is_refused_by_name(pretrained):
    def energy(atoms):
        atoms.calc = Calculator(*pretrained)
        return atoms.get_potential_energy()

    with pytest.raises(ValueError, match="elements H, C, N, O, F, got Cl"):
        energy(molecule("HCl"))
    charged = molecule("H2O")
    charged.set_initial_charges([1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="initial charges must be zero"):
        energy(charged)
    slab = molecule("H2O", cell=[9.0, 9.0, 9.0], pbc=[True, True, False])
    with pytest.raises(ValueError, match="pbc must be all true or all false"):
        energy(slab)
    free = molecule("H2O", calculator=Calculator(*pretrained))
    with pytest.raises(PropertyNotImplementedError, match="stress needs a cell"):
        free.get_stress()


def test_no_number_is_better_than_one_that_is_not_finite(pretrained, calculator, fresh):
    """Two atoms on one spot, by themselves and by a periodic image; a parameter lost in training."""
    atoms = molecule("H2O", calculator=calculator)
    atoms.positions[2] = atoms.positions[1]
    for compute in (atoms.get_potential_energy, atoms.get_forces, lambda: BFGS(atoms, logfile=None).run()):
        with pytest.raises(CalculationFailed, match="closest atoms, 1 and 2, are 0 Å apart"):
            compute()
    assert not calculator.results
    crystal = ase.Atoms("Al2", [[0.0, 0, 0], [4.0, 0, 0]], cell=np.eye(3) * 4.0, pbc=True)
    crystal.calc = Calculator(*fresh)
    with pytest.raises(CalculationFailed, match="closest atoms, 0 and 1, are 0 Å apart"):
        crystal.get_stress()
    potential, params = pretrained
    lost = jax.tree.map(lambda leaf: leaf * np.nan, params)
    with pytest.raises(CalculationFailed, match="energy must be finite"):
        molecule("H2O", calculator=Calculator(potential, lost)).get_potential_energy()


def test_no_atoms_are_refused_and_one_is_enough(calculator):
    """Two 50 Å apart have twice its energy, and none of them a force."""
    with pytest.raises(ValueError, match="atoms must hold at least one atom"):
        ase.Atoms(calculator=calculator).get_potential_energy()
    alone = ase.Atoms("O", [[1.0, 2.0, 3.0]], calculator=calculator)
    assert BFGS(alone, logfile=None).run(fmax=1e-6, steps=1) and not alone.get_forces().any()
    energy = alone.get_potential_energy()
    both = ase.Atoms("O2", [[1.0, 2.0, 3.0], [51.0, 2.0, 3.0]], calculator=calculator)
    assert both.get_potential_energy() == pytest.approx(2 * energy, rel=1e-6) and abs(energy) > 0.01
    assert not both.get_forces().any()
