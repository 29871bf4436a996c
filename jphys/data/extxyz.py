"""A user's own structures: one file that ASE reads, with energies and perhaps forces."""

from pathlib import Path

import numpy as np

from jphys.data.contacts import check_apart
from jphys.data.structures import Structures
from jphys.elements import check_species
from jphys.graph import check_atoms


def load(path) -> Structures:
    """Structures of one file readable by ASE: extended xyz, ASE database, VASP, ...; every frame is one.

    Energies (eV) are required, forces (eV/Å) are taken when all frames have them; both as ASE's calculator
    results. A frame periodic in all directions keeps its cell. Bonds are not perceived: `n_bonds` is 0.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a folder, not readable, no frame, no energy, forces in some frames only or under another
            name, partly periodic, flat cell, unknown element, a charge or open shell, two atoms on one spot,
            or a value of another shape or not finite; names file and frame.
    """
    path = Path(path)
    frames = _read_frames(path)
    energies, forces = [], []
    for i, atoms in enumerate(frames):
        where = f"{path}, frame {i}"
        _check_geometry(atoms, where)
        energies.append(_energy(atoms, where))
        forces.append(_forces(atoms, where))
    m, n_atoms = len(frames), np.array([len(atoms) for atoms in frames], np.int32)
    return Structures(
        name=np.array([f"{path.name}:{i}" for i in range(m)]),
        n_atoms=n_atoms,
        species=np.concatenate([atoms.numbers for atoms in frames]).astype(np.int32),
        positions=np.concatenate([atoms.positions for atoms in frames]).astype(np.float64),
        energy=np.array(energies, np.float64),
        forces=_all_or_none(forces, path),
        cell=np.array([atoms.cell.array if atoms.pbc.all() else np.zeros((3, 3)) for atoms in frames]),
        n_bonds=np.zeros(m, np.int32),
        bonds=np.zeros((0, 3), np.int32),
    )


def _read_frames(path: Path) -> list:
    import ase.io

    if path.is_dir():
        raise ValueError(f"{path} must be one file of structures, got a folder")
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file of structures, there is none")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} must hold at least one frame, got an empty file")
    try:
        frames = ase.io.read(path, index=":", do_not_split_by_at_sign=True)
    except Exception as error:  # every format of ASE raises its own
        raise ValueError(
            f"{path}, frame {_n_readable(path)}: must be readable by ASE, got {type(error).__name__}: {error}"
        ) from error
    frames = frames if isinstance(frames, list) else [frames]
    if not frames:
        raise ValueError(f"{path} must hold at least one frame, got none")
    return frames


def _n_readable(path: Path) -> int:
    import ase.io

    n = 0
    try:
        for _ in ase.io.iread(path, index=":", do_not_split_by_at_sign=True):
            n += 1
    except Exception:  # the same error again: only the count is wanted
        return n
    return n


def _check_geometry(atoms, where: str) -> None:
    if len(atoms) == 0:
        raise ValueError(f"{where}: a structure must have atoms, got none")
    try:
        check_species(atoms.numbers)
        check_atoms(atoms)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    _check_numbers(atoms.positions, (len(atoms), 3), "positions", where)
    cell = atoms.cell.array if atoms.pbc.all() else None
    if cell is not None:
        _check_numbers(cell, (3, 3), "cell", where)
        if not atoms.cell.volume > 0:
            raise ValueError(f"{where}: cell must have a volume, got {cell.tolist()}")
    check_apart(atoms.positions, where, cell)


def _results(atoms) -> dict:
    # what the file says; get_potential_energy would ask a calculator to compute what it does not
    return {} if atoms.calc is None else atoms.calc.results


def _energy(atoms, where: str) -> float:
    energy = _results(atoms).get("energy", atoms.info.get("energy"))
    if energy is None:
        found = ", ".join(sorted({*_results(atoms), *map(str, atoms.info)})) or "none"
        raise ValueError(
            f"{where}: a structure must have an energy (eV, key 'energy'), got the keys: {found}"
        )
    _check_numbers(energy, (), "energy", where)
    return float(energy)


def _forces(atoms, where: str) -> np.ndarray | None:
    for name, array in atoms.arrays.items():
        if "force" in name.lower() and name != "forces" and array.shape == (len(atoms), 3):
            raise ValueError(
                f"{where}: forces (eV/Å) must be in a column 'forces', got {name!r}: rename it to 'forces', "
                "or leave it out"
            )
    forces = _results(atoms).get("forces", atoms.arrays.get("forces"))
    if forces is not None:
        _check_numbers(forces, (len(atoms), 3), "forces", where)
    return forces


def _check_numbers(values, shape: tuple[int, ...], name: str, where: str) -> None:
    values = np.asarray(values)
    if values.dtype.kind not in "iuf":
        raise ValueError(
            f"{where}: {name} must be {'numbers' if shape else 'a number'}, got {values.tolist()!r}"
        )
    if values.shape != shape:
        wanted = f"have shape {shape}" if shape else "be one number"
        raise ValueError(f"{where}: {name} must {wanted}, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: {name} must be finite, got {values[~np.isfinite(values)][0]}")


def _all_or_none(forces: list, path: Path) -> np.ndarray | None:
    without = [i for i, f in enumerate(forces) if f is None]
    if len(without) == len(forces):
        return None
    if without:
        raise ValueError(
            f"{path}, frame {without[0]}: forces must be in all frames or in none, "
            f"got {len(without)} of {len(forces)} frames without"
        )
    return np.concatenate(forces).astype(np.float64)
