"""Bonds of a molecule from its geometry or its SMILES, by RDKit (imported on first use); host side."""

import numpy as np

from jphys.elements import COVALENT_RADIUS, SYMBOLS, check_species

__all__ = ["bonds_from_smiles", "connectivity", "embed_smiles", "perceive_bonds"]

# Two atoms are bonded when closer than the sum of their covalent radii plus this, in Å. In QM9 hardly a pair
# lies between 0.20 and 0.25: caged rings have unbonded C-C pairs at 1.77 Å. F2 is a bond beyond it.
BOND_SLACK = 0.225
MAX_VALENCE_TRIALS = 20_000  # of RDKit's search over valences, which is exponential without a bound


def connectivity(species, positions) -> np.ndarray:
    """Bonded pairs as rows (i, j, 1) with i < j: |rᵢ − rⱼ| < Rᵢ + Rⱼ + 0.225 Å, R covalent radii.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.

    Returns:
        (m, 3) int32; orders are not perceived, all are 1.

    Raises:
        ValueError: for an unknown element or positions that are not (n, 3) and finite.
    """
    species = check_species(species)
    positions = _checked_positions(positions, len(species))
    radii = COVALENT_RADIUS[species]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    pairs = np.argwhere(np.triu(distances < radii[:, None] + radii[None] + BOND_SLACK, k=1))
    return np.column_stack([pairs, np.ones(len(pairs))]).astype(np.int32)


def perceive_bonds(species, positions, charge: int = 0) -> np.ndarray | None:
    """Kekulised bonds of a molecule from its geometry, or None where no valence model fits.

    The pairs are those of `connectivity`; orders follow Kim and Kim 2015 (doi:10.1002/bkcs.10334) as in
    RDKit's rdDetermineBonds, with the number of trial valences bounded.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        charge: total charge in e.

    Returns:
        (m, 3) int32 rows (i, j, order 1..3) with i < j, or None: then use `connectivity` and count it.

    Raises:
        ValueError: for an unknown element or positions that are not (n, 3) and finite.
    """
    from rdkit import rdBase
    from rdkit.Chem import rdDetermineBonds

    skeleton = connectivity(species, positions)
    molecule = _single_bonded(species, skeleton)
    with rdBase.BlockLogs():
        try:
            rdDetermineBonds.DetermineBondOrders(
                molecule, charge=charge, embedChiral=False, maxIterations=MAX_VALENCE_TRIALS
            )
        except (ValueError, RuntimeError):  # how RDKit reports "no valence model" and "too many trials"
            return None
        return _kekulised(molecule)


def embed_smiles(smiles: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A molecule in space from its SMILES: RDKit's distance geometry (ETKDG), then MMFF94 where it applies.

    Args:
        smiles: SMILES of the whole molecule; hydrogens are added.
        seed: of the embedding.

    Returns:
        species (n,), positions (n, 3) Å, kekulised bonds (m, 3) int32 rows (i, j, order).

    Raises:
        ValueError: for a SMILES that RDKit cannot read or place in space, of charged atoms or a radical, or
            a seed that RDKit does not take.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import AllChem

    if not 0 <= seed < 2**31:
        raise ValueError(f"seed must be from 0 to below 2**31, got {seed}")
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles) if smiles else None
        if molecule is None or not molecule.GetNumAtoms():
            raise ValueError(f"smiles must be readable by RDKit, got {smiles!r}")
        if any(atom.GetFormalCharge() for atom in molecule.GetAtoms()):
            raise ValueError(f"smiles must be of a molecule without charged atoms, got {smiles!r}")
        if any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
            raise ValueError(f"smiles must be of a molecule with a closed shell, got {smiles!r}")
        molecule = Chem.AddHs(molecule)
        if AllChem.EmbedMolecule(molecule, randomSeed=seed) != 0:  # pyright: ignore
            raise ValueError(f"smiles must be of a molecule that RDKit can embed, got {smiles!r}")
        if AllChem.MMFFHasAllMoleculeParams(molecule):  # pyright: ignore
            AllChem.MMFFOptimizeMolecule(molecule)  # pyright: ignore
        Chem.Kekulize(molecule, clearAromaticFlags=True)
    species, found = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()]), _kekulised(molecule)
    if found is None:
        raise ValueError(f"smiles must be of a molecule with single, double and triple bonds, got {smiles!r}")
    return species, np.array(molecule.GetConformer().GetPositions()), found


def bonds_from_smiles(smiles: str, species, positions) -> np.ndarray | None:
    """Kekulised bonds that a SMILES gives to the atoms of a geometry, or None where the two disagree.

    The hydrogen-complete graph of the SMILES is matched onto `connectivity`; bond orders come along.

    Args:
        smiles: SMILES of the whole molecule.
        species: (n,) atomic numbers.
        positions: (n, 3) Å.

    Returns:
        (m, 3) int32 rows (i, j, order 1..3) with i < j, or None: unreadable SMILES or another graph.

    Raises:
        ValueError: for an unknown element or positions that are not (n, 3) and finite.
    """
    from rdkit import Chem, rdBase

    skeleton = connectivity(species, positions)
    with rdBase.BlockLogs():
        template = Chem.MolFromSmiles(smiles) if smiles else None
        if template is None:
            return None
        bonds = _kekulised(Chem.AddHs(template))
        numbers = np.array([atom.GetAtomicNum() for atom in Chem.AddHs(template).GetAtoms()])
        if bonds is None or len(bonds) != len(skeleton) or len(numbers) != len(species):
            return None
        # all bonds single on both sides: elements and neighbours decide, not the orders of a tautomer
        plain = _single_bonded(numbers, bonds)
        match = np.array(_single_bonded(species, skeleton).GetSubstructMatch(plain), int)
    if not len(match):
        return None
    return _sorted_rows(match[bonds[:, :2]], bonds[:, 2])


def _checked_positions(positions, n_atoms: int) -> np.ndarray:
    positions = np.asarray(positions, float)
    if positions.shape != (n_atoms, 3) or not np.isfinite(positions).all():
        raise ValueError(
            f"positions must be finite with shape ({n_atoms}, 3), got shape {positions.shape}, "
            f"{np.count_nonzero(~np.isfinite(positions))} entries not finite"
        )
    return positions


def rdkit_molecule(species, bonds: np.ndarray):
    """RDKit's molecule of atoms (n,) and bonds (m, 3) rows (i, j, order 1..3); no hydrogens are implied."""
    from rdkit import Chem

    orders = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
    molecule = Chem.RWMol()
    for z in species:
        atom = Chem.Atom(SYMBOLS[z])
        atom.SetNoImplicit(True)  # every hydrogen is an atom of its own
        molecule.AddAtom(atom)
    for i, j, order in bonds.tolist():
        molecule.AddBond(i, j, orders[order])
    return molecule


def _single_bonded(species, bonds: np.ndarray):
    return rdkit_molecule(species, np.column_stack([bonds[:, :2], np.ones(len(bonds), np.int32)]))


def _kekulised(molecule) -> np.ndarray | None:
    from rdkit import Chem

    try:
        Chem.Kekulize(molecule, clearAromaticFlags=True)
    except Chem.KekulizeException:
        return None
    rows = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondTypeAsDouble()) for b in molecule.GetBonds()]
    rows = np.array(rows, float).reshape(-1, 3)
    if not np.isin(rows[:, 2], (1, 2, 3)).all():
        return None
    return _sorted_rows(rows[:, :2], rows[:, 2])


def _sorted_rows(pairs, orders) -> np.ndarray:
    rows = np.column_stack([np.sort(pairs, axis=1), orders]).astype(np.int32)
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]
