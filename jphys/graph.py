"""`Graph`: a batch of molecules or crystals as a jraph.GraphsTuple of typed, masked arrays."""

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import jraph
import numpy as np

from jphys import neighbors
from jphys.elements import check_species

__all__ = [
    "Edges",
    "Globals",
    "Graph",
    "Nodes",
    "batch",
    "bonds_of",
    "from_ase",
    "hide_atoms",
    "make_graph",
    "pad",
    "to_device",
    "unbatch",
    "validate",
    "with_cell",
    "with_edges",
    "with_edges_within",
    "with_positions",
]

Array = jax.Array | np.ndarray
ROUNDED = 0.999
"""Of twice the cutoff: a box as long counts as one of twice the cutoff."""


class Nodes(NamedTuple):
    """Atoms. `species` 0 is a hidden atom where `mask` is true, and padding where it is false."""

    positions: Array  # (n_node, 3) Å
    species: Array  # (n_node,) atomic number Z
    mask: Array  # (n_node,) bool, false on padding


class Edges(NamedTuple):
    """Directed neighbour relations, sorted by receiver; the message runs sender → receiver."""

    shifts: Array  # (n_edge, 3) int, periodic image of the sender
    bond_type: Array  # (n_edge,) int: 0 none, 1 single, 2 double, 3 triple
    mask: Array  # (n_edge,) bool, false on padding
    vectors: Array | None = (
        None  # (n_edge, 3) Å, receiver to sender, 0 on padding; None: by positions and cell
    )


class Globals(NamedTuple):
    """One row per molecule or crystal."""

    cell: Array  # (n_graph, 3, 3) Å, rows are lattice vectors; zeros for a molecule
    mask: Array  # (n_graph,) bool, false on padding


if TYPE_CHECKING:

    class Graph(NamedTuple):
        """What type checkers see: jraph.GraphsTuple with the types that jphys puts into its fields."""

        nodes: Nodes
        edges: Edges
        receivers: Array  # (n_edge,) int
        senders: Array  # (n_edge,) int
        globals: Globals
        n_node: Array  # (n_graph,) int
        n_edge: Array  # (n_graph,) int

else:
    Graph = jraph.GraphsTuple


def make_graph(species, positions, *, cell=None, cutoff: float | None = None, bonds=None) -> Graph:
    """One molecule or crystal as a Graph of numpy arrays.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        cell: (3, 3) Å, rows are lattice vectors, periodic in all three; None for a molecule.
        cutoff: Å; pairs closer than it get an edge. Required with a cell; None means all pairs.
        bonds: (m, 3) int rows (i, j, order), order 1..3; None for no bond knowledge.

    Raises:
        ValueError: wrong shape, unknown element, non-finite position, flat cell, cutoff ≤ 0, bonds that
            `bond_rows` refuses or that no edge joins, bonds in a cell smaller than twice the cutoff.
    """
    species = check_species(species)
    positions = _check_positions(positions, len(species))
    if cutoff is not None and not cutoff > 0:
        raise ValueError(f"cutoff must be positive, got {cutoff}")
    if cell is not None:
        cell = _check_cell(cell)
        if cutoff is None:
            raise ValueError("cutoff must be given for a periodic cell, got None")
        if bonds is not None and len(bonds):
            check_room_for_bonds(neighbors.heights(cell), cutoff)
    if cutoff is None:
        senders, receivers, shifts = neighbors.all_pairs(len(species))
    else:
        senders, receivers, shifts = neighbors.within_cutoff(positions.astype(np.float64), cell, cutoff)
    return Graph(
        nodes=Nodes(positions, species, np.ones(len(species), bool)),
        edges=Edges(
            shifts, _bond_types(bonds, senders, receivers, len(species)), np.ones(len(senders), bool)
        ),
        senders=senders,
        receivers=receivers,
        globals=Globals(
            (np.zeros((3, 3)) if cell is None else cell).astype(positions.dtype)[None], np.ones(1, bool)
        ),
        n_node=np.array([len(species)], np.int32),
        n_edge=np.array([len(senders)], np.int32),
    )


def check_room_for_bonds(heights, cutoff: float) -> None:
    """Which of several images of an atom within the cutoff is bonded would be anyone's guess.

    Raises:
        ValueError: for a cell whose faces (heights (3,) Å) are closer than twice the cutoff.
    """
    if not np.min(heights) >= ROUNDED * 2.0 * cutoff:
        got = np.round(np.asarray(heights, float), 3).tolist()
        raise ValueError(
            f"bonds must not be given for a box this small: faces must be {2 * cutoff} Å apart, got {got}"
        )


def _check_positions(positions, n_atoms: int) -> np.ndarray:
    positions = np.asarray(positions)
    if positions.dtype != np.float32:
        positions = positions.astype(jax.dtypes.canonicalize_dtype(np.float64))
    if positions.shape != (n_atoms, 3):
        raise ValueError(f"positions must have shape ({n_atoms}, 3) to match species, got {positions.shape}")
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if bad.size:
        raise ValueError(f"positions must be finite, got {positions[bad[0]]} at atom {bad[0]}")
    return positions


def _check_cell(cell) -> np.ndarray:
    cell = np.asarray(cell, np.float64)
    if cell.shape != (3, 3):
        raise ValueError(f"cell must have shape (3, 3), rows are lattice vectors, got {cell.shape}")
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-6:
        raise ValueError(f"cell must be finite with a volume above 0, got {cell.tolist()}")
    return cell


def bond_rows(bonds, n_atoms: int) -> np.ndarray:
    """Bonds as (m, 3) int32 rows (i, j, order) with i < j, sorted, each once.

    Args:
        bonds: rows (i, j, order) in any order and direction; None or empty for none.
        n_atoms: of the structure.

    Raises:
        ValueError: for another shape, numbers that are not whole, an atom that does not exist or twice in a
            row, an order beyond 1..3, or two orders for one pair.
    """
    rows = np.asarray([] if bonds is None else bonds)
    if rows.size == 0:
        return np.zeros((0, 3), np.int32)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise ValueError(f"bonds must have shape (m, 3) with rows (i, j, order), got {rows.shape}")
    i, j, order = rows.T
    good = (rows == np.rint(rows)).all(axis=1) & (np.minimum(i, j) >= 0) & (np.maximum(i, j) < n_atoms)
    good &= (i != j) & (order >= 1) & (order <= 3)
    if not good.all():
        wrong = tuple(rows[np.argmin(good)].tolist())
        raise ValueError(f"bonds must join two different atoms below {n_atoms} with order 1..3, got {wrong}")
    rows = rows.astype(np.int32)
    rows[:, :2].sort(axis=1)
    rows = np.unique(rows, axis=0)
    twice = np.flatnonzero((rows[1:, :2] == rows[:-1, :2]).all(axis=1))
    if twice.size:
        first, second = rows[twice[0]].tolist(), rows[twice[0] + 1].tolist()
        raise ValueError(
            f"bonds must give one order for two atoms, got {first[2]} and {second[2]} for {tuple(first[:2])}"
        )
    return rows


def _bond_types(bonds, senders, receivers, n_atoms: int) -> np.ndarray:
    rows = bond_rows(bonds, n_atoms)
    if not len(rows):
        return np.zeros(len(senders), np.int32)
    order = np.zeros((n_atoms, n_atoms), np.int32)
    order[rows[:, 0], rows[:, 1]] = order[rows[:, 1], rows[:, 0]] = rows[:, 2]
    joined = np.zeros((n_atoms, n_atoms), bool)
    joined[receivers, senders] = True
    lost = np.argwhere((order > 0) & ~joined)
    if lost.size:
        raise ValueError(
            f"bonds must be shorter than the cutoff, got a longer one between atoms {lost[0].tolist()}"
        )
    return order[receivers, senders]


def from_ase(atoms, *, cutoff: float | None = None, bonds=None) -> Graph:
    """Graph of an ase.Atoms; its cell counts where `pbc` is true in all three directions.

    Constraints are left out: give `relax` its `fixed` atoms.

    Raises:
        ValueError: as `check_atoms` and `make_graph`.
    """
    check_atoms(atoms)
    cell = atoms.cell.array if atoms.pbc.all() else None
    return make_graph(atoms.numbers, atoms.positions, cell=cell, cutoff=cutoff, bonds=bonds)


def check_atoms(atoms) -> None:
    """Whether a Graph can stand for an ase.Atoms.

    Raises:
        ValueError: for partly periodic boundaries, initial charges and magnetic moments, and a charge or
            an open shell in `atoms.info`.
    """
    if atoms.pbc.any() and not atoms.pbc.all():
        raise ValueError(f"pbc must be all true or all false, got {atoms.pbc.tolist()}")
    for name, values in (
        ("initial charges", atoms.get_initial_charges()),
        ("initial magnetic moments", atoms.get_initial_magnetic_moments()),
    ):
        if np.any(values):
            index = int(np.flatnonzero(np.reshape(values, (len(atoms), -1)).any(axis=1))[0])
            raise ValueError(f"{name} must be zero: a Graph has none, got {values[index]} at atom {index}")
    for name, neutral in (("charge", (0,)), ("spin", (0, 1))):  # as other calculators read them; 2S + 1
        if atoms.info.get(name, 0) not in neutral:
            raise ValueError(
                f"info[{name!r}] must be {neutral[-1]} or absent: a Graph has none, got {atoms.info[name]}"
            )


def batch(graphs: Sequence[Graph], *, xp=np) -> Graph:
    """One Graph that holds the given graphs side by side, in order.

    Args:
        graphs: padded ones too.
        xp: jax.numpy where they are traced.

    Raises:
        ValueError: for an empty sequence.
    """
    if not graphs:
        raise ValueError("graphs must hold at least one graph, got an empty sequence")
    offsets = np.cumsum([0] + [len(g.nodes.species) for g in graphs[:-1]], dtype=np.int32)

    def join(parts):
        return xp.concatenate([xp.asarray(part) for part in parts])

    return Graph(
        nodes=Nodes(*(join(field) for field in zip(*(g.nodes for g in graphs)))),
        edges=jax.tree.map(lambda *fields: join(fields), *(g.edges for g in graphs)),
        senders=join([g.senders + o for g, o in zip(graphs, offsets)]),
        receivers=join([g.receivers + o for g, o in zip(graphs, offsets)]),
        globals=Globals(*(join(field) for field in zip(*(g.globals for g in graphs)))),
        n_node=join([g.n_node for g in graphs]),
        n_edge=join([g.n_edge for g in graphs]),
    )


def pad(graph: Graph, n_node: int, n_edge: int, n_graph: int) -> Graph:
    """The graph with padding up to the given sizes: masked, of species 0, in one extra graph (or more).

    Padding edges are self-edges of the last node, so that the edges stay sorted by receiver.

    Raises:
        ValueError: if the graph does not fit, or leaves no room for the padding it needs.
    """
    sizes = len(graph.nodes.species), len(graph.senders), len(graph.n_node)
    for name, size, budget in zip(("n_node", "n_edge", "n_graph"), sizes, (n_node, n_edge, n_graph)):
        if size > budget:
            raise ValueError(f"{name} must be at least {size} to hold the graph, got {budget}")
    if sizes == (n_node, n_edge, n_graph):
        return graph
    if sizes[2] == n_graph or sizes[0] == n_node:
        raise ValueError("padding needs one more graph and one more node than the graph has")
    extra_node, extra_edge, extra_graph = n_node - sizes[0], n_edge - sizes[1], n_graph - sizes[2]

    def zeros(array, extra):
        array = np.asarray(array)
        return np.concatenate([array, np.zeros((extra, *array.shape[1:]), array.dtype)])

    def ends(array):
        return np.concatenate([array, np.full(extra_edge, n_node - 1, np.int32)])

    def counts(array, extra):
        return np.concatenate([array, [extra], np.zeros(extra_graph - 1)]).astype(np.int32)

    return Graph(
        nodes=Nodes(*(zeros(field, extra_node) for field in graph.nodes)),
        edges=jax.tree.map(lambda field: zeros(field, extra_edge), graph.edges),
        senders=ends(graph.senders),
        receivers=ends(graph.receivers),
        globals=Globals(*(zeros(field, extra_graph) for field in graph.globals)),
        n_node=counts(graph.n_node, extra_node),
        n_edge=counts(graph.n_edge, extra_edge),
    )


def unbatch(graph: Graph) -> list[Graph]:
    """The graphs of a batch, one by one, without the padding."""
    graph = jax.tree.map(np.asarray, graph)
    node_ends, edge_ends = (np.cumsum(counts, dtype=np.int32) for counts in (graph.n_node, graph.n_edge))
    parts = []
    for index in np.flatnonzero(graph.globals.mask):
        nodes = slice(node_ends[index] - graph.n_node[index], node_ends[index])
        edges = slice(edge_ends[index] - graph.n_edge[index], edge_ends[index])
        parts.append(
            Graph(
                nodes=Nodes(*(field[nodes] for field in graph.nodes)),
                edges=jax.tree.map(operator.itemgetter(edges), graph.edges),
                senders=graph.senders[edges] - nodes.start,
                receivers=graph.receivers[edges] - nodes.start,
                globals=Globals(*(field[index : index + 1] for field in graph.globals)),
                n_node=graph.n_node[index : index + 1],
                n_edge=graph.n_edge[index : index + 1],
            )
        )
    return parts


def validate(graph: Graph) -> None:
    """Check the invariants that the models rely on; for graphs that were not made by this module.

    Raises:
        ValueError: naming the field, the rule and the value.
    """
    graph = jax.tree.map(np.asarray, graph)
    n_node, n_edge = len(graph.nodes.species), len(graph.senders)
    for name, array, size in (("n_node", graph.n_node, n_node), ("n_edge", graph.n_edge, n_edge)):
        if array.sum() != size:
            raise ValueError(f"{name} must sum to {size}, got {array.sum()}")
    for name, array in (("senders", graph.senders), ("receivers", graph.receivers)):
        if n_edge and not (0 <= array.min() and array.max() < n_node):
            raise ValueError(f"{name} must lie in 0..{n_node - 1}, got {array.min()}..{array.max()}")
    if np.any(np.diff(graph.receivers) < 0):
        raise ValueError("edges must be sorted by receiver")
    owner = np.repeat(np.arange(len(graph.n_node)), graph.n_node)
    if np.any(owner[graph.senders] != owner[graph.receivers]):
        raise ValueError("edges must join nodes of one graph")
    if np.any(graph.nodes.mask & (graph.nodes.species < 0)):
        raise ValueError("species must not be negative")


def with_positions(graph: Graph, positions) -> Graph:
    """The same graph at other positions (n_node, 3) Å; the edge list is kept.

    Raises:
        ValueError: for edges with vectors of their own, which would stay where they are.
    """
    if graph.edges.vectors is not None:
        raise ValueError("edges must be without vectors for atoms to move, got vectors")
    return graph._replace(nodes=graph.nodes._replace(positions=positions))


def bonds_of(graph: Graph) -> np.ndarray:
    """The bonds of a single structure as `make_graph` takes them: rows (i, j, order) with i < j, (m, 3)."""
    rows = np.stack([graph.receivers, graph.senders, graph.edges.bond_type], axis=1)
    return rows[(rows[:, 0] < rows[:, 1]) & (rows[:, 2] > 0)].astype(np.int32)


def with_cell(graph: Graph, cell) -> Graph:
    """The same single structure in another cell (3, 3) Å; positions and edge list are kept."""
    return graph._replace(globals=graph.globals._replace(cell=cell[None]))


def with_edges_within(graph: Graph, cutoff: float, *, bonds_of: Graph) -> Graph:
    """The same single structure with the pairs within `cutoff` Å as its edges, found anew.

    Args:
        graph: one structure.
        cutoff: Å.
        bonds_of: the structure whose edges know the bonds; no atom was wrapped since.
    """
    cell, positions = np.asarray(graph.globals.cell[0], float), np.asarray(graph.nodes.positions, float)
    found = neighbors.within_cutoff(positions, cell if cell.any() else None, cutoff)
    senders, receivers, shifts = found
    bonded = np.flatnonzero(bonds_of.edges.bond_type)
    ends = zip(
        bonds_of.senders[bonded], bonds_of.receivers[bonded], map(tuple, bonds_of.edges.shifts[bonded])
    )
    order = dict(zip(ends, bonds_of.edges.bond_type[bonded]))
    bond_type = np.zeros(len(senders), np.int32)
    if order:
        edges = zip(senders, receivers, map(tuple, shifts))
        bond_type[:] = [order.get(edge, 0) for edge in edges]
    return graph._replace(
        edges=Edges(shifts, bond_type, np.ones(len(senders), bool)),
        senders=senders,
        receivers=receivers,
        n_edge=np.array([len(senders)], np.int32),
    )


def with_edges(graph: Graph, chosen) -> Graph:
    """The same single structure with only the chosen edges (n_edge,) bool, in numpy."""
    return graph._replace(
        edges=jax.tree.map(lambda field: np.asarray(field)[chosen], graph.edges),
        senders=graph.senders[chosen],
        receivers=graph.receivers[chosen],
        n_edge=np.array([np.count_nonzero(chosen)], np.int32),
    )


def hide_atoms(graph: Graph, hidden) -> Graph:
    """The graph with the element of the chosen atoms (n_node,) bool hidden: species 0, mask still true."""
    return graph._replace(nodes=graph.nodes._replace(species=jnp.where(hidden, 0, graph.nodes.species)))


def to_device(graph: Graph) -> Graph:
    """The graph as jax arrays."""
    return jax.tree.map(jnp.asarray, graph)
