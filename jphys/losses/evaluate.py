"""Everything that the losses of a batch look at, from one gradient of the energy."""

import functools

import jax
import jax.numpy as jnp

from jphys import packing
from jphys.derivatives import energy_and_forces
from jphys.diatomics import draw_diatomics
from jphys.graph import Graph, batch, with_positions
from jphys.losses.base import DISPLACING, Backward, Evaluation, Labels, Need, Point, known
from jphys.losses.displacements import Displacements
from jphys.ops import graph_of_node
from jphys.prior import prior_energy


def evaluate(
    potential,
    params,
    graph: Graph,
    labels: Labels,
    needs: frozenset[Need],
    moved: Displacements,
    *,
    n_atom: int,
    key,
) -> Evaluation:
    """Energies, forces and prior of the structures wherever a loss needs them.

    All points whose forces are needed are one graph, and so are those whose energies are enough: a second
    gradient takes as long to compile again.

    Args:
        potential: a Potential.
        params: its parameters.
        graph: structures, padded.
        labels: their labels; `prior` and `modes` where the losses need them.
        needs: of all losses together.
        moved: how structures are displaced.
        n_atom: atoms of the largest structure of the data set.
        key: of this step; one key gives one set of displacements and hidden atoms.
    """
    displace_key, hide_key = jax.random.split(key)
    pair_key = jax.random.fold_in(displace_key, 2**31 - 1)  # beyond all structures, which draw by theirs
    stable, graphs, backward = graph.nodes.positions, {"rest": graph}, None
    both_ways = (labels.place % moved.both_ways == 0) & (labels.place >= 0) & (Need.BOTH_WAYS in needs)
    delta = jnp.zeros_like(stable)
    if needs & DISPLACING:
        delta = moved.draw(displace_key, labels, graph, n_atom, small=both_ways)
        graphs["displaced"] = with_positions(graph, stable + delta)
    if Need.BOTH_WAYS in needs:
        chosen = _chosen(both_ways, moved.both_ways)
        backward = _packed(with_positions(graph, stable - delta), chosen, n_atom)
        graphs["backward"] = backward.graph
    pairs = draw_diatomics(potential, labels.index, pair_key) if Need.DIATOMICS in needs else None
    if pairs is not None:
        graphs["diatomics"] = pairs.graph
    points = _points(potential, params, graphs, needs)
    back = None
    if backward is not None:
        forces = known(points["backward"].forces, "forces")
        back = Backward(backward.graph, forces, backward.local, chosen, moved.both_ways)
    if Need.PRIOR in needs and needs & DISPLACING:
        ways = [stable + delta, *([] if back is None else [stable - delta])]
        forth, *other = _prior_forces(ways, stable, labels)
        points["displaced"] = points["displaced"]._replace(prior_forces=forth)
        back = back and back._replace(prior_forces=other[0])
    return Evaluation(
        rest=points["rest"],
        displaced=points.get("displaced"),
        backward=back,
        diatomics=None if pairs is None else (pairs, known(points["diatomics"].forces, "forces")),
        config=potential.config,
        head=lambda name, seen: potential.head(name)(params, seen),
        uniform=functools.partial(_uniform, hide_key, labels, graph, n_atom),
    )


def _points(potential, params, graphs: dict[str, Graph], needs: frozenset[Need]) -> dict[str, Point]:
    """The surface at every graph: one gradient for all whose forces are needed, one energy for the others."""
    pushed = {"backward", "diatomics"}
    if Need.FORCES_AT_REST in needs:
        pushed.add("rest")
    if needs & {Need.FORCES_DISPLACED, Need.BOTH_WAYS}:
        pushed.add("displaced")
    quiet, forced = ({k: g for k, g in graphs.items() if (k in pushed) == which} for which in (False, True))
    surface = functools.partial(_surface, potential, params)
    return surface(quiet, with_forces=False) | surface(forced, with_forces=True)


def _surface(potential, params, graphs: dict[str, Graph], *, with_forces: bool) -> dict[str, Point]:
    """The surface at every graph, from one energy or one gradient of all of them side by side."""
    if not graphs:
        return {}
    parts = list(graphs.values())
    joined = parts[0] if len(parts) == 1 else batch(parts, xp=jnp)
    if with_forces:
        energy, forces = energy_and_forces(potential)(params, joined)
    else:
        energy, forces = potential.energy(params, joined), None
    points, graph_start, node_start = {}, 0, 0
    for name, graph in graphs.items():
        graph_end, node_end = graph_start + len(graph.n_node), node_start + len(graph.nodes.species)
        own = None if forces is None else forces[node_start:node_end]
        points[name] = Point(graph, energy[graph_start:graph_end], own)
        graph_start, node_start = graph_end, node_end
    return points


def _uniform(key, labels: Labels, graph: Graph, n_atom: int):
    """Random numbers (n_node,) from [0, 1), by structure and atom."""
    draw = jax.vmap(lambda index: jax.random.uniform(jax.random.fold_in(key, index), (n_atom,)))
    return draw(labels.index)[graph_of_node(graph), labels.local]


def _prior_forces(places: list, stable, labels: Labels):
    """Forces (k, n_node, 3) eV/Å of the prior around the stable structures, at k positions (n_node, 3) Å."""
    prior = known(labels.prior, "labels.prior")
    return -jax.vmap(jax.grad(prior_energy), in_axes=(0, None, None))(jnp.stack(places), stable, prior)


def _chosen(both_ways, every: int):
    """Which of k structures and a padding graph are flagged, one of `every` at most: (⌈k/every⌉,), or −1."""
    slots = -(-(len(both_ways) - 1) // every)
    (chosen,) = jnp.nonzero(both_ways, size=slots, fill_value=-1)
    return chosen


def _packed(graph: Graph, chosen, n_atom: int) -> packing.Pack:
    """Some structures, without periodic images, of a batch, in room for the largest that there are."""
    n_node, n_edge = len(chosen) * n_atom, len(chosen) * n_atom * (n_atom - 1)
    room = packing.Budget(min(n_node + 1, len(graph.nodes.species)), min(n_edge, len(graph.senders)))
    return packing.pack(packing.stored_batch(graph), chosen, room)
