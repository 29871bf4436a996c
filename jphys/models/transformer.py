"""The physics-driven Transformer (Yi et al., "Towards Physically Reliable Molecular Representation")."""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jphys import basis, elements, ops
from jphys.graph import Graph
from jphys.messages import sum_of_messages, values_on_edges
from jphys.models import pair_energy as pairs
from jphys.models.atomwise import atomwise
from jphys.models.base import ModelConfig
from jphys.models.bonded_terms import BondedTerms
from jphys.models.linen import Regressor, method_of, pure, pure_functions
from jphys.models.potential import PROMISES, Potential


@dataclasses.dataclass(frozen=True)
class TransformerConfig(ModelConfig):
    """Size and switches of the Transformer.

    Raises:
        ValueError: for a size that is not positive, heads that do not divide the channels, a [CLS]
            readout without the token, more elements than the tables hold.
    """

    channels: int = 64
    """Width d of the atom embeddings."""
    blocks: int = 3
    """Number L of molecular attention blocks."""
    heads: int = 8
    """Attention heads per block; divides channels."""
    n_basis: int = 32
    """Radial basis functions n_b per element."""
    readout: Literal["atoms", "cls", "pairs"] = "pairs"
    """Energy from f_atom, from f_mol of [CLS], or pair energies plus f_atom (eq. 6)."""
    cls_token: Literal["none", "full"] = "none"
    """[CLS] mixes the whole molecule: far-apart fragments no longer add up. Keep `none` for MD."""
    bond_mask: bool = False
    """Multiply the attention weights by SiLU(linear(A_ij)) (the A-mask)."""
    terms: tuple[Literal["angle", "torsion"], ...] = ()
    """Parametric energies beside those of pairs (`jphys.models.bonded_energy`); none in the paper."""
    repulsion: bool = True
    """Add the screened repulsion of the nuclei below bond lengths (pairs readout; beyond the paper)."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("channels", "blocks", "heads", "n_basis"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if self.channels % self.heads:
            raise ValueError(f"heads must divide channels {self.channels}, got {self.heads}")
        if self.readout == "cls" and self.cls_token == "none":
            raise ValueError("cls_token must be 'full' for readout 'cls', got 'none'")
        if len(set(self.terms)) < len(self.terms) or not set(self.terms) <= {"angle", "torsion"}:
            raise ValueError(f"terms must be angle, torsion, both or none, got {', '.join(self.terms)}")

    def check_data(self, species: set[int], *, has_bonds: bool) -> None:
        super().check_data(species, has_bonds=has_bonds)
        if self.bond_mask and not has_bonds:
            raise ValueError("model.bond_mask must be False for data without bonds, got True")


def felt_distances(distances, species_a, species_b):
    """Distances as the network sees them: d above r = 0.7·(sum of covalent radii), constant below 5/7 r.

    C¹ in between. No structure teaches the network what closer atoms do: there the pair terms alone act,
    and they repel.
    """
    radius = jnp.asarray(elements.COVALENT_RADIUS, distances.dtype)
    reach = pairs.REPULSION_REACH * (radius[species_a] + radius[species_b])
    floor = reach * 5.0 / 7.0
    t = jnp.clip((distances - floor) / (reach - floor), 0.0, 1.0)
    return jnp.where(distances < reach, floor + (reach - floor) * 0.5 * (t**2 + 1.0), distances)


class RadialBasis(nn.Module):
    """ψ_ijk = exp(−β_{z_i,k}(exp(−d) − μ_{z_i,k})²)·φ(d) with learnable β, μ per centre element (eq. 2).

    Row 0 belongs to hidden atoms, so that the basis does not tell their element.
    """

    config: TransformerConfig

    @nn.compact
    def __call__(self, distances, species, graph: Graph):
        """ψ (n_edge, n_basis) of the distances (n_edge,) Å, and ψ (n_node, n_basis) at d = 0."""
        config = self.config
        start, width = basis.exponential_gaussian_start(config.n_basis, config.cutoff)
        shape = (config.max_z + 1, config.n_basis)
        mu = self.param("mu", lambda key: jnp.broadcast_to(jnp.asarray(start, distances.dtype), shape))
        # β by softplus, in units of its start value: never negative, where ψ would grow without limit.
        raw = self.param("beta", lambda key: jnp.zeros(shape, distances.dtype))
        beta = nn.softplus(jnp.asarray(raw)) / np.log(2.0)
        centers, widths = jnp.asarray(mu)[species], beta[species] * width
        itself = basis.exponential_gaussians(jnp.zeros(species.shape), centers, widths)

        def psi(_, received, __, rows):
            distances, envelope = rows
            return basis.exponential_gaussians(distances, *received) * envelope[:, None]

        rows = distances, basis.cosine_envelope(distances, config.cutoff) * graph.edges.mask
        ends = graph.receivers, graph.senders
        return values_on_edges(psi, (), (centers, widths), (), rows, ends), itself


class Attention(nn.Module):
    """Molecular attention: SiLU weights from queries, keys and distances, no softmax (fig. 1b).

    Keys and values keep arrays of their own throughout: joining them costs a copy of every edge array
    in each derivative.
    """

    config: TransformerConfig

    def setup(self):
        channels = self.config.channels
        self.query, self.key, self.value = (nn.Dense(channels) for _ in range(3))
        self.filter_key, self.filter_value = nn.Dense(channels), nn.Dense(channels)
        self.out = nn.Dense(channels)
        if self.config.bond_mask:
            self.bond_scale = nn.Dense(self.config.heads)
        if self.config.cls_token == "full":
            self.cls_filters = self.param("cls_filters", nn.initializers.normal(1.0), (3, 2, channels))

    def incoming(self, query, key, value, psi, scale, graph: Graph):
        """The messages of its neighbours summed at every atom: (n_node, d)."""
        (to_key, key_params), (to_value, value_params) = (
            pure(filters, psi) for filters in (self.filter_key, self.filter_value)
        )

        def message(params, query, sent, rows):
            (key, value), (psi, scale) = sent, rows
            filters = to_key(params[0], psi), to_value(params[1], psi)
            return self.messages(query, key, value, *filters, scale)

        given = (key_params, value_params), query, (key, value), (psi, scale)
        return sum_of_messages(message, *given, (graph.receivers, graph.senders), len(query))

    def messages(self, query, key, value, filter_key, filter_value, scale):
        """a·(v ⊙ D^V), a = SiLU(Σ_c q_c k_c D^K_c)·scale per head; all arguments row by row."""
        per_head = self.config.channels // self.config.heads
        products = (query * key * ops.silu(filter_key)).reshape(
            *query.shape[:-1], self.config.heads, per_head
        )
        weights = ops.silu(products.sum(-1)) * scale
        content = (value * ops.silu(filter_value)).reshape(products.shape)
        return (content * weights[..., None]).reshape(query.shape)

    def __call__(self, x, token, psi, psi_self, envelope, graph: Graph):
        """Updates of the atoms (n_node, d) and of the token (n_graph, d) or None."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        scale = envelope[:, None]
        if self.config.bond_mask:
            bonded = (graph.edges.bond_type > 0).astype(x.dtype)[:, None]
            scale = scale * ops.silu(self.bond_scale(bonded))
        update = self.incoming(query, key, value, psi, scale, graph)
        update += self.messages(
            query, key, value, self.filter_key(psi_self), self.filter_value(psi_self), 1.0
        )
        if token is None:
            return self.out(update), None
        to_atom, to_token, loop = (tuple(pair) for pair in jnp.asarray(self.cls_filters))
        token_query, token_key, token_value = self.query(token), self.key(token), self.value(token)
        update += self.messages(
            query,
            ops.at_nodes(token_key, graph),
            ops.at_nodes(token_value, graph),
            to_atom[0],
            to_atom[1],
            1.0,
        )
        heard = self.messages(ops.at_nodes(token_query, graph), key, value, to_token[0], to_token[1], 1.0)
        token_update = ops.sum_over_graphs(heard * graph.nodes.mask[:, None], graph)
        token_update += self.messages(token_query, token_key, token_value, loop[0], loop[1], 1.0)
        return self.out(update), self.out(token_update)


class Block(nn.Module):
    """Attention and feed-forward, each on normalised input and with a residual."""

    config: TransformerConfig

    def setup(self):
        channels = self.config.channels
        self.norm_attention, self.norm_forward = nn.LayerNorm(), nn.LayerNorm()
        self.attention = Attention(self.config)
        self.widen, self.narrow = nn.Dense(2 * channels), nn.Dense(channels)

    def feed_forward(self, x):
        return x + self.narrow(ops.silu(self.widen(self.norm_forward(x))))

    def __call__(self, x, token, psi, psi_self, envelope, graph: Graph):
        normal_token = None if token is None else self.norm_attention(token)
        update, token_update = self.attention(
            self.norm_attention(x), normal_token, psi, psi_self, envelope, graph
        )
        x = self.feed_forward(x + update)
        return x, None if token is None else self.feed_forward(token + token_update)


class PairRegressor(nn.Module):
    """β = ½(f([x_i; x_j]) + f([x_j; x_i])): the same whichever atom comes first (eq. 5)."""

    channels: int

    def setup(self):
        start = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
        # The first layer of f on [x_i; x_j] is W₁x_i + W₂x_j: one product per atom instead of per pair.
        # Checkpoints know the layers by these names.
        self.Dense_0, self.Dense_1 = nn.Dense(self.channels), nn.Dense(self.channels, use_bias=False)
        self.Dense_2 = nn.Dense(5, kernel_init=start)

    def __call__(self, x, receivers, senders):
        """Atom representations (n_node, d) and the two ends (p,) of every pair -> PairParameters (p,)."""
        function, params = pure(self.Dense_2, x)

        def parameters(params, end, other, _):
            hidden = 0.5 * (ops.silu(end[0] + other[1]) + ops.silu(other[0] + end[1]))
            return function(params, hidden)

        atoms = self.Dense_0(x), self.Dense_1(x)
        raw = values_on_edges(parameters, params, atoms, atoms, (), (receivers, senders))
        return pairs.from_raw(raw)


class Transformer(nn.Module):
    """Atom representations and the four heads."""

    config: TransformerConfig

    def setup(self):
        config, channels = self.config, self.config.channels
        self.embedding = nn.Embed(config.max_z + 1, channels - 1, embedding_init=nn.initializers.normal(1.0))
        self.radial = RadialBasis(config)
        self.neighbor_filter = nn.Dense(channels, use_bias=False)  # V of eq. 4
        self.neighbor_mix = nn.Dense(channels, use_bias=False)  # U of eq. 4
        self.combine = nn.Dense(channels)  # W
        self.attention_blocks = [Block(config) for _ in range(config.blocks)]
        self.norm = nn.LayerNorm()
        self.f_atom = Regressor(channels, 1)
        if config.readout == "cls":
            self.f_mol = Regressor(channels, 1)
        if config.readout == "pairs":
            self.f_bond = PairRegressor(channels)
        if config.terms:
            self.bonded = BondedTerms(config.terms)
        self.f_element = Regressor(channels, config.max_z)
        if config.cls_token == "full":
            self.token = self.param("token", nn.initializers.normal(1.0), (channels,))

    def represent(self, graph: Graph):
        """Atom representations (n_node, d), token (n_graph, d) or None, and distances (n_edge,) Å."""
        species = jnp.asarray(graph.nodes.species)
        distances = ops.edge_distances(graph)
        seen_distances = felt_distances(
            distances, ops.at_receivers(species, graph), ops.at_senders(species, graph)
        )
        envelope = basis.cosine_envelope(seen_distances, self.config.cutoff) * graph.edges.mask
        psi, psi_self = self.radial(seen_distances, species, graph)
        chi = jnp.asarray(elements.ELECTRONEGATIVITY, psi.dtype)[species]
        x_self = jnp.concatenate([self.embedding(species), chi[:, None]], axis=-1)  # eq. 1
        function, params = pure(self.neighbor_filter, psi)
        seen = sum_of_messages(
            lambda params, _, x_sent, psi: x_sent * function(params, psi),
            *(params, (), x_self, psi, (graph.receivers, graph.senders), len(x_self)),
        )
        x_neighbor = self.neighbor_mix(seen)  # eq. 4
        x = self.combine(jnp.concatenate([x_self, x_neighbor], axis=-1))
        token = None
        if self.config.cls_token == "full":
            token = jnp.broadcast_to(self.token, (graph.n_node.shape[0], self.config.channels))
        for block in self.attention_blocks:
            x, token = block(x, token, psi, psi_self, envelope, graph)
        return self.norm(x), None if token is None else self.norm(token), distances

    def node_energies(self, graph: Graph):
        """(n_node,) eV; pair energies count half at either end, a [CLS] energy evenly on all atoms."""
        x, token, distances = self.represent(graph)
        if self.config.readout == "cls":
            count = jnp.maximum(ops.sum_over_graphs(graph.nodes.mask.astype(x.dtype), graph), 1)
            energies = ops.at_nodes(self.f_mol(token)[:, 0] / count, graph)
        else:
            energies = self.f_atom(x)[:, 0]
        if self.config.readout == "pairs":
            energies += self.pair_sums(x, distances, graph)
        if self.config.terms:
            energies += self.bonded(x, graph)
        return energies

    def pair_sums(self, x, distances, graph: Graph):
        """Σ_{i<j} E_ij·φ(d_ij) of eq. 6, half of every pair at either atom: (n_node,) eV."""
        pair, real = ops.undirected(graph)
        receivers, senders = jnp.asarray(graph.receivers)[pair], jnp.asarray(graph.senders)[pair]
        safe = jnp.where(real, distances[pair], 1.0)
        energies = pairs.pair_energy(safe, self.f_bond(x, receivers, senders))
        energies *= basis.cosine_envelope(safe, self.config.cutoff)
        halves = jnp.where(real, 0.5 * energies, 0.0)
        return ops.sum_at_ends(halves, receivers, senders, len(x))

    def pair_parameters(self, graph: Graph):
        """The five fields of eq. 5 per edge."""
        return self.f_bond(self.represent(graph)[0], graph.receivers, graph.senders)

    def angle_parameters(self, graph: Graph):
        """Stiffness and angle at every centre, and the weights of outer atoms."""
        return self.bonded.angle_parameters(self.represent(graph)[0])

    def torsion_parameters(self, graph: Graph):
        """Barriers and phases of a turn about every edge."""
        return self.bonded.torsion_parameters(self.represent(graph)[0], graph)

    def element_logits(self, graph: Graph):
        """Scores (n_node, max_z) of Z = 1..max_z for every atom; hidden atoms have species 0 (eq. 7).

        Bonds that touch a hidden atom are hidden too.
        """
        hidden = graph.nodes.species == 0
        shown = ~(ops.at_senders(hidden, graph) | ops.at_receivers(hidden, graph))
        edges = graph.edges._replace(bond_type=graph.edges.bond_type * shown)
        return self.f_element(self.represent(graph._replace(edges=edges))[0])

    def everything(self, graph: Graph):
        """All heads, so that `init` makes every parameter."""
        return self.node_energies(graph), self.element_logits(graph)


def make_transformer(config: TransformerConfig) -> Potential:
    """The Transformer of the given config as a Potential."""
    module = Transformer(config)
    has_pairs = config.readout == "pairs"
    holds = {"additive": config.cls_token == "none", "repels": has_pairs}
    parametric = [*["pair"] * has_pairs, *config.terms]
    heads = ["element_logits", *(f"{name}_parameters" for name in parametric)]
    return atomwise(
        config,
        *pure_functions(module),
        repulsion=has_pairs and config.repulsion,
        heads={name: method_of(module, name) for name in heads},
        promises=PROMISES - {name for name, true in holds.items() if not true},
        needs_bonds=config.bond_mask,
    )
