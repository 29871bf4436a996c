"""Ideal gases of rigid rotors and harmonic oscillators, with the zero-point energy counted once."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.thermochemistry import IdealGasThermo

from jphys.evaluation import energies
from jphys.graph import Graph
from jphys.harmonic.molecules import Vibrations, vibrations
from jphys.units import INVERSE_CM

__all__ = ["Thermochemistry", "ideal_gas", "thermochemistry"]

ROOM_TEMPERATURE, ATMOSPHERE = 298.15, 101325.0  # K, Pa
GEOMETRIES: dict[int, Any] = {0: "monatomic", 5: "linear", 6: "nonlinear"}  # by what does not vibrate


@dataclasses.dataclass(frozen=True)
class Thermochemistry:
    """One molecule as an ideal gas; energies in eV, relative as those of its potential are.

    All but `electronic` and `zero_point` are NaN where a mode is imaginary: there is no such gas.
    """

    electronic: float  # E, at rest and without zero-point energy
    zero_point: float  # ½ Σ h c ν
    internal: float  # U(T)
    enthalpy: float  # H = U + k T
    entropy: float  # S, eV/K
    gibbs: float  # G = H − T S
    vibrations: Vibrations


def thermochemistry(
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    temperature: float = ROOM_TEMPERATURE,
    pressure: float = ATMOSPHERE,
    symmetry_numbers: int | Sequence[int] = 1,
    spins: float | Sequence[float] = 0.0,
    zero_point_included: bool | None = None,
    chunk: int = 16,
) -> list[Thermochemistry]:
    """Molecules at rest as ideal gases: `ase.thermochemistry.IdealGasThermo` on the modes of `vibrations`.

    QM9's energies U0 hold the zero-point energy of their own functional, and so do those of a model that
    was trained on them: ½ Σ h c ν of the surface is taken from them before it is added again.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m molecules at minima of the surface, as `relax` returns them.
        temperature: K.
        pressure: Pa.
        symmetry_numbers: rotations that map a molecule on itself (water 2, methane 12), of all or of each.
        spins: total electronic spin, of all or of each: 0.5 of a radical, 1 of a triplet.
        zero_point_included: whether the energies of the surface hold the zero-point energy; None: as
            `potential.config.zero_point` says.
        chunk: molecules per device call.

    Returns:
        m Thermochemistry.

    Raises:
        ValueError: for a potential that does not say whether its energies hold the zero-point energy, where
            zero_point_included does not either; a crystal; numbers out of range.
    """
    included = getattr(getattr(potential, "config", None), "zero_point", None)
    included = included if zero_point_included is None else zero_point_included
    if included is None:
        raise ValueError(
            "zero_point_included must say whether the energies hold the zero-point energy (QM9's U0 do), for "
            "the potential does not, got None"
        )
    symmetries = _of_each("symmetry_numbers", symmetry_numbers, len(graphs))
    spin_of = _of_each("spins", spins, len(graphs))
    _check(temperature, pressure, symmetries, spin_of)
    modes = vibrations(potential, params, graphs, chunk=chunk)
    found = []
    for row in zip(graphs, modes, energies(potential, params, graphs), symmetries, spin_of, strict=True):
        graph, mode, energy, symmetry, spin = row
        electronic = float(energy) - mode.zero_point * included
        where = {"temperature": temperature, "pressure": pressure, "symmetry_number": symmetry, "spin": spin}
        found.append(ideal_gas(graph.nodes.species, graph.nodes.positions, mode, electronic, **where))
    return found


def ideal_gas(
    species,
    positions,
    vibrations: Vibrations,
    electronic: float = 0.0,
    *,
    temperature: float = ROOM_TEMPERATURE,
    pressure: float = ATMOSPHERE,
    symmetry_number: int = 1,
    spin: float = 0.0,
) -> Thermochemistry:
    """One molecule as an ideal gas, from its modes.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        vibrations: its modes; only their wavenumbers count.
        electronic: eV, without zero-point energy.
        temperature, pressure: K, Pa.
        symmetry_number, spin: as in `thermochemistry`.

    Raises:
        ValueError: for numbers out of range.
    """
    _check(temperature, pressure, [symmetry_number], [spin])
    count, n = len(vibrations.wavenumbers), len(np.asarray(species))
    still = 3 * n - count if n > 1 or count else 0
    if still not in GEOMETRIES:
        raise ValueError(f"vibrations must have 3n − 6 or 3n − 5 modes for n = {n} atoms, got {count}")
    zero_point = vibrations.zero_point
    if vibrations.n_imaginary or not np.isfinite(vibrations.wavenumbers).all():
        return Thermochemistry(electronic, zero_point, np.nan, np.nan, np.nan, np.nan, vibrations)
    atoms = Atoms(np.asarray(species), np.asarray(positions, float))
    gas = IdealGasThermo(
        (vibrations.wavenumbers * INVERSE_CM).tolist(),
        geometry=GEOMETRIES[still],
        potentialenergy=electronic,
        atoms=atoms,
        symmetrynumber=int(symmetry_number),
        spin=spin,
    )
    enthalpy = float(gas.get_enthalpy(temperature, verbose=False))
    entropy = float(gas.get_entropy(temperature, pressure, verbose=False))
    internal = float(gas.get_internal_energy(temperature, verbose=False))
    return Thermochemistry(
        electronic, zero_point, internal, enthalpy, entropy, enthalpy - temperature * entropy, vibrations
    )


def _check(temperature, pressure, symmetry_numbers, spins) -> None:
    """Refuse numbers that no gas has."""
    for name, value in (("temperature", temperature), ("pressure", pressure)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
    for symmetry in symmetry_numbers:
        if not (1 <= symmetry < np.inf and symmetry == np.round(symmetry)):
            raise ValueError(f"symmetry numbers must be whole numbers from 1, got {symmetry}")
    for spin in spins:
        if not (0 <= spin < np.inf and 2 * spin == np.round(2 * spin)):
            raise ValueError(f"spins must be 0, 0.5, 1, …, got {spin}")


def _of_each(name: str, values, count: int) -> list:
    """One value per molecule."""
    if np.ndim(values) == 0:
        return [values] * count
    if len(values) != count:
        raise ValueError(f"{name} must be one value or one per graph, {count}, got {len(values)}")
    return list(values)
