"""Masked atomic modelling: nothing of a hidden element reaches any logit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jphys
from jphys import elements
from jphys.graph import hide_atoms, make_graph
from jphys.models import TransformerConfig, make_potential
from jphys.models.transformer import make_transformer

CONFIG = TransformerConfig(channels=16, blocks=2, heads=4, n_basis=6, cutoff=4.0, max_z=14)
CONFIGS = {
    "plain": CONFIG,
    "bonds, token": dataclasses.replace(CONFIG, bond_mask=True, cls_token="full"),
}
SPECIES = np.array([6, 8, 7, 1, 1, 1])
HIDDEN = np.array([False, True, True, False, False, False])
BONDS = [(0, 1, 2), (0, 2, 1), (0, 3, 1), (2, 4, 1), (2, 5, 1)]


@pytest.fixture(scope="module", params=[*CONFIGS, "trained"])
def logits(request):
    """A function (species, bonds, params, hidden) -> logits of formamide; stirred or trained parameters."""
    trained = jphys.load("qm9-small") if request.param == "trained" else None
    potential = trained[0] if trained else make_potential(CONFIGS[request.param])
    rng = np.random.default_rng(3)
    positions = np.array(
        [[0, 0.4, 0], [1.2, 0.2, 0], [-0.9, -0.6, 0], [-0.4, 1.4, 0], [-0.7, -1.5, -0.2], [-1.9, -0.4, 0.2]]
    )

    score = potential.head("element_logits")

    def compute(params, species=SPECIES, bonds=BONDS, hidden=HIDDEN, fresh=False):
        """`fresh` compiles anew: tables are constants of a compiled function, a potential's too."""
        graph = make_graph(species, positions, bonds=bonds)
        function = jax.jit(make_transformer(potential.config).head("element_logits")) if fresh else score
        return np.asarray(function(params, hide_atoms(graph, hidden)))

    if trained:
        return compute, trained[1]
    shapes = jax.eval_shape(potential.init, jax.random.key(0), make_graph(SPECIES, positions, bonds=BONDS))

    def draw(path, leaf):
        middle = {"mu": 0.5, "beta": 1.0, "scale": 1.0}.get(path[-1].key, 0.0)
        return jnp.asarray(middle + 0.2 * rng.normal(size=leaf.shape), jnp.float32)

    params = jax.tree_util.tree_map_with_path(draw, shapes)
    return compute, params


def with_row(params, names, row, change):
    """The parameters with one row of one table changed."""
    if not names:
        return params.at[row].add(change)
    return params | {names[0]: with_row(params[names[0]], names[1:], row, change)}


def test_shape(logits):
    compute, params = logits
    known = len(params["embedding"]["embedding"]) - 1  # its row 0 is that of hidden atoms
    assert compute(params).shape == (6, known) and known >= 14


@pytest.mark.parametrize("others", [(1, 1), (9, 6), (14, 14)])
def test_another_element_in_its_place_gives_the_same_logits(logits, others):
    compute, params = logits
    species = SPECIES.copy()
    species[HIDDEN] = others
    np.testing.assert_array_equal(compute(params, species), compute(params))


def test_other_bond_orders_in_its_place_give_the_same_logits(logits):
    """Valence would tell the element: the bonds of a hidden atom are hidden with it."""
    compute, params = logits
    for bonds in ([(0, 3, 1)], [(0, 1, 1), (0, 2, 3), (0, 3, 1), (1, 2, 1)]):
        np.testing.assert_array_equal(compute(params, bonds=bonds), compute(params))


@pytest.mark.parametrize(
    "names", [("embedding", "embedding"), ("radial", "mu"), ("radial", "beta")], ids="-".join
)
@pytest.mark.parametrize("element", [8, 7])
def test_tables_of_the_hidden_element_are_not_read(logits, names, element):
    """Its row changed: same logits. Row 0, the hidden one, changed: other logits."""
    compute, params = logits
    there = compute(with_row(params, names, element, 0.3))
    np.testing.assert_array_equal(there, compute(params))
    assert np.abs(compute(with_row(params, names, 0, 0.3)) - compute(params)).max() > 1e-4


def test_electronegativity_of_the_hidden_element_is_not_read(logits, monkeypatch):
    compute, params = logits
    before = compute(params)
    for element, changes in ((8, False), (6, True)):
        table = elements.ELECTRONEGATIVITY.copy()
        table[element] += 1.0
        monkeypatch.setattr(elements, "ELECTRONEGATIVITY", table)
        assert np.array_equal(compute(params, fresh=True), before) != changes


def test_what_is_not_hidden_is_seen(logits):
    """The element of a neighbour changes the logits of the hidden atom, and its own when it is shown."""
    compute, params = logits
    species = SPECIES.copy()
    species[0] = 7
    assert np.abs(compute(params, species) - compute(params))[1].max() > 1e-4
    shown = np.zeros(6, bool)
    species = SPECIES.copy()
    species[1] = 9
    assert np.abs(compute(params, species, hidden=shown) - compute(params, hidden=shown))[1].max() > 1e-4


def test_bonds_between_shown_atoms_are_seen(logits):
    """With the bond mask on; without it bonds are never read."""
    compute, params = logits
    without = [bond for bond in BONDS if bond != (0, 3, 1)]
    difference = np.abs(compute(params, bonds=without) - compute(params)).max()
    assert (difference > 1e-5) == any(
        "bond_scale" in block["attention"] for name, block in params.items() if "block" in name
    )


def test_hidden_atoms_keep_their_place(logits):
    """A hidden atom still is there: moving it is seen (mask true, species 0), unlike padding."""
    compute, params = logits
    assert np.isfinite(compute(params)).all()
    none = np.zeros(6, bool)
    everything = np.ones(6, bool)
    assert not np.array_equal(compute(params, hidden=none), compute(params, hidden=everything))
    assert jnp.ptp(compute(params, hidden=everything), axis=0).max() > 1e-4
