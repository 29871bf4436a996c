"""Potentials that the physics list is checked on: random ones with strong heads, and the trained one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from toy_models import ToyAngles, ToyVectors

import jphys
from jphys.derivatives import energy_and_forces
from jphys.graph import batch, make_graph, pad
from jphys.models import MessagePassingConfig, TransformerConfig, make_potential
from jphys.models.potential import Potential

TRAINED = "qm9-small"
TYPES = ("nonbonded", "single", "double", "triple")
CHANNELS = {"channels": 8, "steps": 2, "n_basis": 8, "cutoff": 3.5, "bond_types": TYPES}
SMALL = {"channels": 16, "heads": 4, "n_basis": 8, "cutoff": 3.5}
RANDOM = {
    "pairs": TransformerConfig(**SMALL, blocks=1),
    "pairs, angles, torsions": TransformerConfig(**SMALL, blocks=1, terms=("angle", "torsion")),
    "pairs, token, bonds": TransformerConfig(**SMALL, blocks=2, cls_token="full", bond_mask=True),
    "atoms, bonds": TransformerConfig(**SMALL, blocks=1, readout="atoms", bond_mask=True),
    "token": TransformerConfig(**SMALL, blocks=1, readout="cls", cls_token="full"),
    "VIMPNN a.ii": MessagePassingConfig(**CHANNELS, strategy="a.ii"),
    "VIMPNN c": MessagePassingConfig(**CHANNELS, strategy="c"),
    "vectors": ToyVectors(cutoff=3.5),
    "triplets": ToyAngles(cutoff=3.5, places=400),
}
BUDGET = (16, 240, 4)  # nodes, edges, graphs: one compilation serves most tests


class Case(NamedTuple):
    """A potential, its parameters in float64, and its compiled energy, forces and atom energies."""

    name: str
    potential: Potential
    params: Any
    compute: Callable  # graph -> energy (n_graph,), forces (n_node, 3), atom energies (n_node,)

    @property
    def additive(self) -> bool:
        """Whether far fragments add up."""
        return "additive" in self.potential.promises

    @property
    def repels(self) -> bool:
        """Whether the model promises repulsion at short range."""
        return "repels" in self.potential.promises

    @property
    def sees_bonds(self) -> bool:
        """Whether bond types change the energy."""
        return self.potential.needs_bonds

    def padded(self, *graphs):
        """Energies (k,) and forces of the given graphs, from one batch of the common size."""
        energy, forces, _ = self.compute(pad(batch(graphs), *BUDGET))
        n_node = sum(len(g.nodes.species) for g in graphs)
        return energy[: len(graphs)], forces[:n_node]


def stir(params, rng, *, heads, amount=0.1):
    """Every parameter a little off its start and the output layers `heads` times larger.

    At the start the heads are close to silent and all elements share one radial basis: a model in
    which many mistakes would not show.
    """

    def change(path, leaf):
        names = [part.key for part in path]
        leaf = np.asarray(leaf, np.float64)
        last = names[0].startswith("f_") and names[1] == max(params[names[0]])
        if (last or {"strength", "center"} & set(names)) and names[-1] == "kernel":
            leaf = heads * leaf
        return leaf + amount * rng.normal(size=leaf.shape)

    return jax.tree_util.tree_map_with_path(change, params)


def random_case(name: str) -> Case:
    potential = make_potential(RANDOM[name])
    graph = make_graph([6, 8], [[0.0, 0, 0], [1.2, 0, 0]], bonds=[(0, 1, 2)])
    heads = 8.0 if "pair_parameters" in potential.heads else 60.0
    params = stir(jax.jit(potential.init)(jax.random.key(1), graph), np.random.default_rng(2), heads=heads)
    return Case(name, potential, params, compiled(potential, params))


def trained_case() -> Case:
    potential, params = jphys.load(TRAINED)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    return Case("trained", potential, params, compiled(potential, params))


def compiled(potential, params):
    @jax.jit
    def function(params, graph):
        return *energy_and_forces(potential)(params, graph), potential.atom_energies(params, graph)

    return lambda graph: jax.tree.map(np.asarray, function(params, graph))


# A bond mask without the token, the strategy that is not the default, trained parameters of a model that is
# here with random ones: what others cover, too.
RARE = ("atoms, bonds", "VIMPNN c", "trained")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in RARE)) for name in (*RANDOM, "trained")]


@pytest.fixture(scope="session", params=NAMES)
def case(request) -> Case:
    """Each random potential in turn, then the trained one."""
    return trained_case() if request.param == "trained" else random_case(request.param)


@pytest.fixture(scope="session")
def additive_case(case) -> Case:
    """Without the [CLS] token, which mixes whatever is in one graph."""
    if not case.additive:
        pytest.skip("the token sees the whole graph")
    return case


@pytest.fixture
def formamide():
    """HCONH2 and its bonds, bent out of every symmetry."""
    species = np.array([6, 8, 7, 1, 1, 1])
    positions = np.array(
        [
            [0.00, 0.42, 0.03],
            [1.20, 0.24, -0.05],
            [-0.93, -0.56, 0.08],
            [-0.44, 1.43, 0.11],
            [-0.66, -1.54, -0.21],
            [-1.92, -0.35, 0.19],
        ]
    )
    bonds = [(0, 1, 2), (0, 2, 1), (0, 3, 1), (2, 4, 1), (2, 5, 1)]
    return species, positions, bonds


@pytest.fixture
def water():
    return (
        np.array([8, 1, 1]),
        np.array([[0.0, 0, 0.1], [0.97, 0.1, 0], [-0.3, 0.9, 0]]),
        [(0, 1, 1), (0, 2, 1)],
    )


@pytest.fixture
def crystal_atoms():
    """C and O in a sheared cell smaller than every cutoff: species, positions, cell."""
    cell = np.array([[2.9, 0.2, 0.0], [-0.3, 3.1, 0.4], [0.1, 0.5, 3.2]])
    return np.array([6, 8]), np.array([[0.1, 0.0, 0.2], [1.3, 1.6, 1.4]]), cell
