"""Tables of the elements against ASE's and against published values."""

import ase.data
import numpy as np
import pytest

from jphys import elements


def test_symbols_are_those_of_ase():
    assert list(elements.SYMBOLS) == ase.data.chemical_symbols[: elements.MAX_Z + 1]


def test_covalent_radii_are_those_of_ase():
    np.testing.assert_allclose(
        elements.COVALENT_RADIUS[1:], ase.data.covalent_radii[1 : elements.MAX_Z + 1], atol=1e-9
    )


@pytest.mark.parametrize(
    ("symbol", "pauling"),
    [
        ("H", 2.20), ("Li", 0.98), ("B", 2.04), ("C", 2.55), ("N", 3.04), ("O", 3.44), ("F", 3.98),
        ("Na", 0.93), ("Al", 1.61), ("Si", 1.90), ("P", 2.19), ("S", 2.58), ("Cl", 3.16), ("Ca", 1.00),
        ("Fe", 1.83), ("Cu", 1.90), ("Br", 2.96), ("Ag", 1.93), ("I", 2.66), ("Cs", 0.79), ("Ba", 0.89),
        ("La", 1.10), ("Pt", 2.20), ("Pb", 1.80), ("Ra", 0.90), ("U", 1.70),
        ("He", 0.0), ("Ne", 0.0), ("Ar", 0.0),
    ],
)  # fmt: skip
def test_electronegativity(symbol, pauling):
    """Values of the CRC Handbook; a missing or doubled entry would shift every later element."""
    assert elements.ELECTRONEGATIVITY[elements.atomic_number(symbol)] == pytest.approx(pauling)


def test_every_table_has_one_row_per_element():
    assert len(elements.ELECTRONEGATIVITY) == len(elements.COVALENT_RADIUS) == elements.MAX_Z + 1


def test_unknown_symbol_is_named():
    with pytest.raises(ValueError, match="symbol must be an element from H to Pu, got 'Xx'"):
        elements.atomic_number("Xx")


@pytest.mark.parametrize(
    ("species", "message"),
    [
        ([1, 0, 6], "from 1 to 94, got 0 at atom 1"),
        ([1, 6, 95], "from 1 to 94, got 95 at atom 2"),
        ([1.0, 6.0], "dtype float64"),
        ([[1, 6]], r"shape \(1, 2\)"),
    ],
)
def test_wrong_species_are_refused(species, message):
    with pytest.raises(ValueError, match=f"species must be .*{message}"):
        elements.check_species(species)
