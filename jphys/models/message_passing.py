"""Message passing along chemical bonds: MPNN (Gilmer et al. 2017, arXiv:1704.01212) and VIMPNN, which has a
channel per bond type (anonymous, "VIMPNN: physics informed DNN to estimate potential energies of unstable
systems").

What the papers leave open is chosen so that the energy is invariant and C¹ in the positions: edges see
distances alone, through a radial basis; each message is multiplied by an envelope that is C¹ at the cutoff;
perceptrons use SiLU; and no feature of an atom counts neighbours.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jphys import basis, elements, ops
from jphys.auxiliary import SCALES
from jphys.graph import Graph
from jphys.messages import sum_of_messages
from jphys.models.atomwise import atomwise
from jphys.models.base import ModelConfig
from jphys.models.linen import Regressor, method_of, pure_functions
from jphys.models.potential import Potential

Strategy = Literal["distance", "edge", "a.i", "a.ii", "b.i", "b.ii", "c"]
BondType = Literal["nonbonded", "single", "double", "triple", "metallic"]
Auxiliary = Literal["atoms", "orbitals", "scale"]
BOND_TYPES: tuple[BondType, ...] = get_args(BondType)  # by number, as `bond_types` gives them


@dataclasses.dataclass(frozen=True)
class MessagePassingConfig(ModelConfig):
    """Size and switches of MPNN and VIMPNN.

    Raises:
        ValueError: for a size that is not positive and finite, or not whole where it counts; an unknown
            strategy, bond type, estimate or element, one of them twice; no bond type, estimates of no
            element, a bond feature where the strategy is to know none.
    """

    strategy: Strategy = "a.ii"
    """What the bond type does: nothing, an edge feature (MPNN), or a channel of its own (VIMPNN)."""
    bond_feature: bool = False
    """Channels whose messages know the bond type too: MPNN and VIMPNN together (beyond the paper)."""
    bond_types: tuple[BondType, ...] = ("single", "double", "triple")
    """The types with a channel; other pairs send nothing. Crystals: metallic, between any two metals."""
    auxiliary: tuple[Auxiliary, ...] = ()
    """What is estimated beside the energy (sec. 4.3)."""
    auxiliary_elements: tuple[int, ...] = (1, 6, 7, 8, 9)
    """Elements whose atoms and orbitals are estimated."""
    channels: int = 73
    """Size of a message, and of the state of an atom; with b.i and b.ii the state has so many per type."""
    steps: int = 3
    """T, rounds of messages; all share their parameters."""
    n_basis: int = 32
    """Radial basis functions."""
    energy_scale: float = 1.0
    """eV; atom energies are the readout times this. Training sets it to the spread per atom."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("channels", "steps", "n_basis", "energy_scale"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name in ("channels", "steps", "n_basis"):
            if not isinstance(getattr(self, name), (int, np.integer)):
                raise ValueError(f"{name} must be a whole number, got {getattr(self, name)}")
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"strategy must be one of {get_args(Strategy)}, got {self.strategy!r}")
        if self.bond_feature and self.strategy == "distance":
            raise ValueError("bond_feature must be False for strategy 'distance' (MPNN is 'edge'), got True")
        for name, known in (("bond_types", BOND_TYPES), ("auxiliary", get_args(Auxiliary))):
            given = getattr(self, name)
            if len(set(given)) < len(given) or set(given) - set(known):
                raise ValueError(f"{name} must be different ones of {known}, got {given}")
        if not self.bond_types:
            raise ValueError("bond_types must be one or more, got none")
        for z in self.auxiliary_elements:
            if not (isinstance(z, (int, np.integer)) and 1 <= z <= elements.MAX_Z):
                raise ValueError(
                    f"auxiliary_elements must be whole numbers from 1 to {elements.MAX_Z}, got {z}"
                )
        if len(set(self.auxiliary_elements)) < max(len(self.auxiliary_elements), bool(self.auxiliary)):
            raise ValueError(
                f"auxiliary_elements must be one or more different elements, got {self.auxiliary_elements}"
            )

    def check_data(self, species: set[int], *, has_bonds: bool) -> None:
        """Refuses, too, estimates of atoms or orbitals that would learn zeros: of elements not counted."""
        super().check_data(species, has_bonds=has_bonds)
        if {"atoms", "orbitals"} & set(self.auxiliary) and species - set(self.auxiliary_elements):
            raise ValueError(
                f"model.auxiliary_elements must hold all elements of the data, {sorted(species)}, "
                f"got {self.auxiliary_elements}"
            )

    def fitted(self, references: Mapping[int, float], spread: float) -> Self:
        return dataclasses.replace(super().fitted(references, spread), energy_scale=max(spread, 1e-3))

    @property
    def states(self) -> int:
        """Length of the state of an atom."""
        return self.channels * (len(self.bond_types) if self.strategy.startswith("b") else 1)


def bond_types(graph: Graph, xp: Any = jnp):
    """Number of each edge's type in BOND_TYPES (n_edge,): its bond order, else metallic between metals.

    Args:
        graph: the structures.
        xp: jax.numpy, or numpy on the host.
    """
    metal = xp.asarray(elements.IS_METAL)[graph.nodes.species]
    metallic = metal[graph.senders] & metal[graph.receivers]
    order = xp.asarray(graph.edges.bond_type)
    return xp.where((order == 0) & metallic, BOND_TYPES.index("metallic"), order)


class Update(nn.Module):
    """U of eq. 2: gated recurrent units on the messages m_v|BT, combined as the strategy says.

    Messages come as (n, channels), or with b.i, b.ii and c as (n, types · channels), type by type.
    """

    config: MessagePassingConfig

    @nn.compact
    def __call__(self, state, messages):
        config, types = self.config, len(self.config.bond_types)
        if config.strategy not in ("b.ii", "c"):
            return nn.GRUCell(config.states, name="gru")(state, messages)[0]
        parts = jnp.split(messages, types, axis=-1)
        if config.strategy == "c":  # eq. 5
            units = [nn.GRUCell(config.channels, name=f"gru_{name}") for name in config.bond_types]
            return sum(unit(state, part)[0] for unit, part in zip(units, parts))
        unit = nn.GRUCell(config.channels, name="gru")
        scale = jnp.asarray(self.param("scale", nn.initializers.ones, (types,)))
        pieces = zip(jnp.split(state, types, axis=-1), parts, scale)
        return jnp.concatenate([unit(piece, factor * part)[0] for piece, part, factor in pieces], axis=-1)


class MessagePassing(nn.Module):
    """States of the atoms after T rounds of messages, and what is read out of them."""

    config: MessagePassingConfig

    def setup(self):
        config = self.config
        self.embedding = nn.Embed(
            config.max_z + 1, config.channels - 1, embedding_init=nn.initializers.normal(1.0)
        )
        self.start = nn.Dense(config.states)
        self.message_sender = nn.Dense(config.channels, use_bias=False)
        self.message_edge = nn.Dense(config.channels)
        self.update = Update(config)
        if config.strategy in ("a.i", "a.ii"):
            size = config.channels if config.strategy == "a.i" else 1
            self.weight = self.param("weight", nn.initializers.ones, (len(config.bond_types), size))
        self.f_atom = Regressor(config.channels, 1)
        sizes = {name: len(config.auxiliary_elements) for name in ("atoms", "orbitals")}
        sizes["scale"] = len(SCALES)
        self.f_auxiliary = {name: Regressor(config.channels, sizes[name]) for name in config.auxiliary}

    def edges(self, graph: Graph):
        """What messages need of the edges: the perceptron's part (n_edge, channels), and per type the
        envelope where the edge is of that type, else 0: (n_edge, types)."""
        config, distances = self.config, ops.edge_distances(graph)
        numbers = jnp.asarray([BOND_TYPES.index(name) for name in config.bond_types])
        is_type = (bond_types(graph)[:, None] == numbers).astype(distances.dtype)
        envelope = basis.cosine_envelope(distances, config.cutoff) * graph.edges.mask
        centers, width = basis.exponential_gaussian_start(config.n_basis, config.cutoff)
        features = basis.exponential_gaussians(distances, jnp.asarray(centers, distances.dtype), width)
        if config.strategy == "edge" or config.bond_feature:
            features = jnp.concatenate([features, is_type], axis=-1)
        return self.message_edge(features), is_type * envelope[:, None]

    def messages(self, state, part, gates, graph: Graph):
        """m_v|BT = Σ_{w: BT(vw) = BT} SiLU(W[h_w; e_vw] + b)·φ(d_vw) (eq. 1), combined over BT by eq. 4
        except with b and c, which keep the types apart."""
        apart = self.config.strategy in ("b.i", "b.ii", "c")
        weight = jnp.asarray(self.weight) if self.config.strategy.startswith("a") else None

        def message(weight, _, sent, rows):
            part, gates = rows
            content = ops.silu(sent + part)
            if apart:
                pieces = gates[:, :, None] * content[:, None, :]
                return pieces.reshape(len(content), gates.shape[1] * content.shape[1])
            factor = jnp.sum(gates, axis=-1, keepdims=True) if weight is None else gates @ weight
            return content * factor

        sent, ends = self.message_sender(state), (graph.receivers, graph.senders)
        return sum_of_messages(message, weight, (), sent, (part, gates), ends, len(state))

    def represent(self, graph: Graph):
        """[h⁰; h^T] of every atom (n_node, 2·states)."""
        species = jnp.asarray(graph.nodes.species)
        part, gates = self.edges(graph)
        chi = jnp.asarray(elements.ELECTRONEGATIVITY, part.dtype)[species]
        start = state = self.start(jnp.concatenate([self.embedding(species), chi[:, None]], axis=-1))
        for _ in range(self.config.steps):
            state = self.update(state, self.messages(state, part, gates, graph))  # eq. 2
        return jnp.concatenate([start, state], axis=-1)

    def node_energies(self, graph: Graph):
        """Summands of eq. 3, (n_node,), in units of `energy_scale`."""
        return self.f_atom(self.represent(graph))[:, 0]

    def auxiliary(self, graph: Graph):
        """The auxiliary estimates of sec. 4.3, see `Potential`."""
        mask, x = graph.nodes.mask[:, None], self.represent(graph)
        count = jnp.maximum(ops.sum_over_graphs(mask.astype(x.dtype), graph), 1)
        found = {}
        for name, readout in self.f_auxiliary.items():
            total = ops.sum_over_graphs(readout(x) * mask, graph)
            found[name] = total if name == "atoms" else total / count
        if "scale" in found:
            found["scale"] = nn.softmax(found["scale"])
        return found

    def everything(self, graph: Graph):
        """All readouts, so that `init` makes every parameter."""
        return self.node_energies(graph), self.auxiliary(graph)


def make_message_passing(config: MessagePassingConfig) -> Potential:
    """MPNN or VIMPNN of the given config as a Potential."""
    module = MessagePassing(config)

    def typed_edges(graph: Graph):
        numbers = [BOND_TYPES.index(name) for name in config.bond_types]
        return np.isin(bond_types(graph, np), numbers) & graph.edges.mask

    return atomwise(
        config,
        *pure_functions(module),
        scale=config.energy_scale,
        heads={"auxiliary": method_of(module, "auxiliary")} if config.auxiliary else {},
        felt_edges=typed_edges,
        needs_bonds=any(name in config.bond_types for name in ("single", "double", "triple")),
        bond_types=config.bond_types,
    )
