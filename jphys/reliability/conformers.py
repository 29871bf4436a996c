"""Conformers of a molecule: made by RDKit from its bonds, laid atom on equal atom, told apart; host side."""

from collections import defaultdict

import numpy as np
from scipy.optimize import linear_sum_assignment

from jphys.alignment import align
from jphys.bonds import connectivity, rdkit_molecule
from jphys.elements import check_species
from jphys.graph import Graph, bonds_of

__all__ = ["embed", "has_bonds", "laid_on", "rmsd", "same_conformer", "torsions"]

MAX_MATCHES = 10_000  # ways in which a molecule lies on itself
AS_GOOD = 0.1  # Å, of the heavy atoms' deviation: what hydrogens may turn round
STRAIGHT = 0.25  # sine of a bond angle below which a torsion says nothing
ANOTHER = 60.0  # degrees, half of what lies between the minima of a rotor with three


def embed(species, positions, bonds, *, n: int, seed: int) -> np.ndarray:
    """Minima of MMFF94 from RDKit's distance geometry (ETKDGv3): what a chemist starts from.

    The given geometry only says which stereoisomer is meant.

    Args:
        species: (n_atoms,) atomic numbers, hydrogens included.
        positions: (n_atoms, 3) Å.
        bonds: (m, 3) rows (i, j, order 1..3), kekulised.
        n: conformers to embed, at least 1.
        seed: of the distance geometry, at least 0.

    Returns:
        (k, n_atoms, 3) Å, k ≤ n: those that came to rest. Several may be the same conformer.

    Raises:
        ValueError: for n below 1, a negative seed, and for a molecule with charged atoms, without parameters
            of MMFF94, or that RDKit cannot embed.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import AllChem

    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    species = check_species(species)
    molecule = rdkit_molecule(species, np.asarray(bonds).reshape(-1, 3))
    name = Chem.MolToSmiles(molecule)
    with rdBase.BlockLogs():
        try:
            Chem.SanitizeMol(molecule)
        except ValueError:  # what RDKit raises is derived from it
            raise ValueError(f"bonds must be those of a molecule without charges, got {name}") from None
        if not AllChem.MMFFHasAllMoleculeParams(molecule):  # pyright: ignore
            raise ValueError(f"molecule must have MMFF94 parameters, got {name}")
        conformer = Chem.Conformer(len(species))
        conformer.SetPositions(np.array(positions, np.float64))
        molecule.AddConformer(conformer)
        Chem.AssignStereochemistryFrom3D(molecule)
        molecule.RemoveAllConformers()
        settings = AllChem.ETKDGv3()  # pyright: ignore
        settings.clearConfs = False
        seeds = np.random.default_rng(seed).integers(2**31 - 1, size=n).tolist()
        for settings.useRandomCoords in (False, True):  # what cages need
            for settings.randomSeed in seeds:
                AllChem.EmbedMultipleConfs(molecule, 1, settings)  # pyright: ignore
            if molecule.GetNumConformers():
                break
        numbers = [conformer.GetId() for conformer in molecule.GetConformers()]
        if not numbers:
            raise ValueError(f"molecule must be one that RDKit can embed, got {name}")
        ends = AllChem.MMFFOptimizeMoleculeConfs(molecule, maxIters=5000)  # pyright: ignore
    rested = [molecule.GetConformer(i).GetPositions() for i, (left, _) in zip(numbers, ends) if left == 0]
    return np.array(rested).reshape(-1, len(species), 3)


def laid_on(species, bonds, reference, candidate) -> np.ndarray:
    """A conformer on another one of the same molecule, equal atoms exchanged so that it lies best.

    Equal are atoms that exchange places when the graph of bonds is laid on itself: the hydrogens of a methyl
    group, the two sides of a ring. Heavy atoms are laid in all ways (10,000 at most), hydrogens by least
    squares then.

    Args:
        species: (n,) atomic numbers.
        bonds: (m, 2 or 3) rows (i, j, …).
        reference, candidate: (n, 3) Å.

    Returns:
        (n, 3) Å: atoms of the candidate, atom i on atom i of the reference, moved by the best rigid motion.
    """
    species, bonds = np.asarray(species), _pairs(bonds)
    reference, candidate = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    hydrogen, parent = species == 1, _parents(species, bonds)
    heavy = np.flatnonzero(~hydrogen)
    if not _spans_a_plane(reference[heavy]) or (parent[hydrogen] < 0).any():
        ways = _ways(species, bonds, np.zeros(len(species), int))
        return _best([align(candidate[way], reference) for way in ways], reference)
    number = np.full(len(species), -1)
    number[heavy] = np.arange(len(heavy))
    inner = bonds[(~hydrogen[bonds]).all(1)]
    ways = _ways(species[heavy], number[inner], np.bincount(parent[hydrogen], minlength=len(species))[heavy])
    off = [rmsd(candidate[heavy[way]], reference[heavy]) for way in ways]
    near = [way for way, distance in zip(ways, off) if distance < min(off) + AS_GOOD]
    laid = []
    for way in near:
        order = np.arange(len(species))
        order[heavy] = heavy[way]
        laid.append(_with_hydrogens(order, hydrogen, parent, reference, candidate))
    return _best(laid, reference)


def _pairs(bonds) -> np.ndarray:
    """(m, 2) atoms of the bonds."""
    bonds = np.asarray(bonds, int)
    return bonds[:, :2] if bonds.size else bonds.reshape(0, 2)


def _parents(species, bonds) -> np.ndarray:
    """The heavy atom that a hydrogen is bonded to; −1 where there is none, and for heavy atoms."""
    parent = np.full(len(species), -1)
    for i, j in (*bonds, *bonds[:, ::-1]):
        if species[i] == 1 and species[j] > 1:
            parent[i] = j
    return parent


def _spans_a_plane(points: np.ndarray) -> bool:
    """Whether points lay down more than a line, so that they alone say how the rest is turned."""
    return len(points) > 2 and np.linalg.svd(points - points.mean(0), compute_uv=False)[1] > 0.1


def _ways(species, bonds, label) -> np.ndarray:
    """(k, n) permutations under which the graph of bonds, elements and labels is the same."""
    single = np.column_stack([bonds, np.ones(len(bonds), int)])
    molecule = rdkit_molecule(species, single)
    for atom, value in zip(molecule.GetAtoms(), label.tolist()):
        atom.SetIsotope(1 + value)
    return np.array(molecule.GetSubstructMatches(molecule, uniquify=False, maxMatches=MAX_MATCHES))


def _with_hydrogens(order, hydrogen, parent, reference, candidate) -> np.ndarray:
    """Heavy atoms in their order, hydrogens put where they lie best; moved onto the reference."""
    places = np.flatnonzero(hydrogen)
    foreign = order[parent[places]][:, None] != parent[places]  # place × hydrogen
    weight, before = ~hydrogen, None
    order[places] = places[linear_sum_assignment(foreign)[1]]
    while before is None or not np.array_equal(before, order):
        before, moved = order.copy(), align(candidate[order], reference, weight)
        free = np.empty_like(candidate)
        free[order] = moved
        squared = ((reference[places][:, None] - free[places]) ** 2).sum(-1)
        order[places] = places[linear_sum_assignment(squared + 1e6 * foreign)[1]]
        weight = np.ones(len(order), bool)
    return align(candidate[order], reference)


def _best(laid: list[np.ndarray], reference: np.ndarray) -> np.ndarray:
    return min(laid, key=lambda one: float(((one - reference) ** 2).sum()))


def rmsd(a, b, mask=None) -> float:
    """Root mean square deviation (Å) of a (n, 3) from b (n, 3), of atoms in `mask` laid on each other."""
    mask = np.ones(len(np.asarray(a)), bool) if mask is None else np.asarray(mask, bool)
    moved = align(np.asarray(a)[mask], np.asarray(b)[mask])
    return float(np.sqrt(((moved - np.asarray(b)[mask]) ** 2).sum(-1).mean()))


def torsions(bonds, positions) -> np.ndarray:
    """Angles (t,) in degrees about all bonds of a molecule, one per chain i–j–k–l.

    NaN where i–j–k or j–k–l is nearly straight.
    """
    points = np.asarray(positions, np.float64)[_chains(bonds)]
    a, b, c = (points[:, i + 1] - points[:, i] for i in range(3))
    normal, other = np.cross(a, b), np.cross(b, c)
    lengths = [np.linalg.norm(x, axis=-1) for x in (a, b, c)]
    angle = np.degrees(np.arctan2(lengths[1] * (a * other).sum(-1), (normal * other).sum(-1)))
    sines = [np.linalg.norm(normal, axis=-1) / (lengths[0] * lengths[1])]
    sines.append(np.linalg.norm(other, axis=-1) / (lengths[1] * lengths[2]))
    return np.where(np.minimum(*sines) < STRAIGHT, np.nan, angle)


def _chains(bonds) -> np.ndarray:
    """(t, 4) rows i, j, k, l of bonded atoms."""
    neighbors = defaultdict(list)
    pairs = _pairs(bonds).tolist()
    for i, j in pairs:
        neighbors[i].append(j)
        neighbors[j].append(i)
    rows = [
        (i, j, k, end)
        for j, k in pairs
        for i in neighbors[j]
        for end in neighbors[k]
        if i != k and end != j and i != end
    ]
    return np.array(rows, int).reshape(-1, 4)


def same_conformer(bonds, a, b) -> bool:
    """Whether no torsion of a (n, 3) differs from that of b (n, 3) by more than 60°."""
    turn = torsions(bonds, a) - torsions(bonds, b)
    turn = np.abs((turn + 180) % 360 - 180)
    return not (turn > ANOTHER).any()  # straight ones are NaN and never larger


def has_bonds(graph: Graph) -> bool:
    """Whether the atoms close enough for a bond (`connectivity`) are those that the graph has bonded."""
    pairs = connectivity(graph.nodes.species, graph.nodes.positions)
    return set(map(tuple, _pairs(pairs).tolist())) == set(map(tuple, _pairs(bonds_of(graph)).tolist()))
