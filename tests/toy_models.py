"""Two models that only the tests know, of kinds that jphys does not ship: vectors on atoms, and triplets."""

import dataclasses

import jax
import jax.numpy as jnp

from jphys import basis, ops
from jphys.messages import sum_of_messages
from jphys.models import ModelConfig, register
from jphys.models.atomwise import atomwise
from jphys.triplets import triplets


@dataclasses.dataclass(frozen=True)
class ToyVectors(ModelConfig):
    channels: int = 8


def make_toy_vectors(config: ToyVectors):
    """Scalars and vectors summed together; the lengths of the vectors are features (as in PaiNN)."""
    c, (centers, width) = config.channels, basis.exponential_gaussian_start(8, config.cutoff)

    def init(key, _):
        shapes = {"element": (config.max_z + 1, c), "filter": (8, 2 * c), "mix": (2 * c, c), "read": (c,)}
        keys = jax.random.split(key, len(shapes))
        return {name: jax.random.normal(k, shapes[name]) for name, k in zip(shapes, keys)}

    def message(filters, _, sent, rows):
        psi, units = rows
        scalars, vectors = jnp.split(psi @ filters, 2, axis=-1)
        return {"scalars": scalars * sent, "vectors": (vectors * sent)[:, :, None] * units[:, None, :]}

    def node_energies(params, graph):
        edges, x = ops.edge_vectors(graph), params["element"][graph.nodes.species]
        lengths = ops.safe_norm(edges)
        envelope = basis.cosine_envelope(lengths, config.cutoff) * graph.edges.mask
        psi = basis.exponential_gaussians(lengths, centers.astype(lengths.dtype), width) * envelope[:, None]
        rows, ends = (psi, edges / (1.0 + lengths)[:, None]), (graph.receivers, graph.senders)
        sums = sum_of_messages(message, params["filter"], (), x, rows, ends, len(x))
        features = [x + sums["scalars"], jnp.sum(sums["vectors"] ** 2, axis=-1)]
        return ops.silu(jnp.concatenate(features, axis=-1) @ params["mix"]) @ params["read"]

    return atomwise(config, init, node_energies)


@dataclasses.dataclass(frozen=True)
class ToyAngles(ModelConfig):
    reach: float = 3.0  # Å, of the edges that form triplets
    places: int = 64  # triplets per atom


def make_toy_angles(config: ToyAngles):
    """E_i = κ (1 + Σ_j φ(d_ij) + Σ_{j<k} (cos θ_jik − cos θ⁰)² f(d_ij) f(d_ik)), κ and θ⁰ by the element."""

    def init(key, _):
        stiffness, cosine = jax.random.normal(key, (2, config.max_z + 1))
        return {"stiffness": stiffness, "cosine": cosine}

    def node_energies(params, graph):
        edges, receivers = ops.edge_vectors(graph), jnp.asarray(graph.receivers)
        lengths = ops.safe_norm(edges)
        fade = basis.cosine_envelope(lengths, config.reach) * graph.edges.mask
        units = edges / jnp.maximum(lengths, 0.1)[:, None]
        found = triplets(graph, config.places, ~(lengths > config.reach))
        cosine = jnp.sum(units[found.first] * units[found.second], axis=-1)
        center = receivers[found.second]
        kappa, rest = (params[name][graph.nodes.species] for name in ("stiffness", "cosine"))
        bends = (cosine - rest[center]) ** 2 * fade[found.first] * fade[found.second] * found.mask
        sums = jax.ops.segment_sum(bends, center, len(kappa), indices_are_sorted=True)
        pairs = basis.cosine_envelope(lengths, config.cutoff) * graph.edges.mask
        sums = kappa * (1.0 + sums + ops.sum_at_receivers(pairs, graph))
        return sums * jnp.where(ops.at_nodes(found.crowded, graph), jnp.nan, 1.0)

    return atomwise(config, init, node_energies)


register(ToyVectors, make_toy_vectors)
register(ToyAngles, make_toy_angles)
