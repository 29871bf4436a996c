"""Many molecules through a fixed number of lanes: one compiled loop, refilled as molecules finish.

The molecules wait on the device. Each lane advances one of them; a lane whose molecule is done stores
the result and takes the next, inside the loop, without a word to the host. All lanes share one flat
evaluation of forces.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from tqdm import tqdm

from jphys import packing
from jphys.derivatives import energy_and_forces
from jphys.graph import Graph, with_positions

CONVERGED, MAX_STEPS, NONFINITE = 1, 2, 3
"""Outcomes of a molecule."""

ROUNDS_PER_CALL = 100
"""Steps between two looks of the host, for the progress bar."""


class Stepper(NamedTuple):
    """A minimiser of one molecule; its state has the fields `position` and `force`, both (n, 3)."""

    start: Callable[[jax.Array, jax.Array], Any]  # (positions, force) -> state at rest
    step: Callable[[Callable, Any], Any]  # (force function of positions, state) -> state


class Bank(NamedTuple):
    """Results per molecule and force threshold."""

    positions: jax.Array  # (…, n_fmax, n_max, 3) Å
    forces: jax.Array  # (…, n_fmax, n_max, 3) eV/Å
    n_steps: jax.Array  # (…, n_fmax) int32
    status: jax.Array  # (…, n_fmax) int32, 0 while the threshold is not reached


class Lanes(NamedTuple):
    """What every lane is doing; `n_steps` is −1 until the force of a new molecule is known."""

    state: Any
    molecule: jax.Array  # (lanes,) row of the bank
    busy: jax.Array  # (lanes,) bool
    n_steps: jax.Array  # (lanes,)
    best: Bank  # (lanes, …) results so far


class Waiting(NamedTuple):
    """All the molecules, on the device."""

    stored: packing.Stored
    positions: jax.Array  # (m, n_max, 3) Å at the start, zeros beyond the atoms


class Loop(NamedTuple):
    lanes: Lanes
    bank: Bank
    taken: jax.Array  # () molecules handed out
    done: jax.Array  # () molecules finished


def run(stepper: Stepper, energy, params, graphs: Sequence[Graph], fmaxes, *, max_steps, n_lanes, bar: tqdm):
    """Advance every molecule until its largest atomic force is below the last of `fmaxes`.

    Args:
        stepper: the minimiser.
        energy: function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m graphs of one structure each.
        fmaxes: eV/Å, descending; positions are recorded where each was first reached.
        max_steps: steps after which a molecule is given up.
        n_lanes: molecules advanced at once.
        bar: progress bar, counts molecules.

    Returns:
        Bank of numpy arrays (m, …).
    """
    n_lanes, waiting = min(n_lanes, len(graphs)), _wait(graphs)
    advance = _compiled(stepper, energy, packing.budget(waiting.stored, n_lanes))
    limits = jnp.asarray(fmaxes, waiting.positions.dtype)
    loop, done = _begin(stepper, waiting, n_lanes, len(fmaxes)), 0
    while done < len(graphs):
        loop = advance(params, waiting, loop, limits, np.int32(max_steps))
        bar.update(int(loop.done) - done)
        done = int(loop.done)
    return jax.tree.map(np.asarray, loop.bank)


def _wait(graphs: Sequence[Graph]) -> Waiting:
    n_max = max(len(graph.nodes.species) for graph in graphs)
    positions = [np.asarray(graph.nodes.positions) for graph in graphs]
    padded = np.stack([np.pad(rows, ((0, n_max - len(rows)), (0, 0))) for rows in positions])
    return Waiting(packing.store(graphs), jnp.asarray(padded))


def _begin(stepper: Stepper, waiting: Waiting, n_lanes: int, n_fmax: int) -> Loop:
    """All lanes free, nothing done."""
    positions = waiting.positions
    vectors = jnp.zeros((len(positions), n_fmax, *positions.shape[1:]), positions.dtype)
    counts = jnp.zeros((len(positions), n_fmax), jnp.int32)
    bank = Bank(vectors, vectors, counts, counts)
    idle, zero = jnp.zeros(n_lanes, jnp.int32), jnp.zeros((), jnp.int32)
    state = _at_rest(stepper, positions[idle])
    return Loop(Lanes(state, idle, idle > 0, idle, jax.tree.map(lambda f: f[idle], bank)), bank, zero, zero)


def _at_rest(stepper: Stepper, positions):
    """States (lanes, …) whose force is not known yet: zero."""
    return jax.vmap(stepper.start)(positions, jnp.zeros_like(positions))


@functools.lru_cache(maxsize=16)
def _compiled(stepper: Stepper, energy, room: packing.Budget):
    """`ROUNDS_PER_CALL` steps of all lanes; jit keeps one compilation per shape."""
    compute = energy_and_forces(energy)

    def advance(params, waiting, loop, limits, max_steps):
        def going(carry):
            return (carry[0] < ROUNDS_PER_CALL) & (carry[1].done < len(waiting.positions))

        def one_round(carry):
            round_, loop = carry
            loop = _refill(stepper, waiting, loop, room)
            chosen = jnp.where(loop.lanes.busy, loop.lanes.molecule, -1)
            packed = packing.pack(waiting.stored, chosen, room)
            force = _shared_force(compute, params, packed)
            real = jnp.arange(waiting.positions.shape[1]) < packed.graph.n_node[:-1, None]
            lanes, ended = _advance(stepper, force, real, loop.lanes, limits, max_steps)
            return round_ + 1, _store(loop._replace(lanes=lanes), ended)

        return jax.lax.while_loop(going, one_round, (jnp.int32(0), loop))[1]

    return jax.jit(advance)


def _shared_force(compute, params, packed: packing.Pack):
    """Force of one molecule by its positions (n_max, 3); vmapped over the lanes, one flat evaluation."""

    # Params and structures are arguments, not closed over: jax-md jits inside, and a rule cannot capture.
    @custom_vmap
    def force(positions, params, packed):
        return jnp.zeros_like(positions)  # gives the shape; the lanes are always vmapped

    @force.def_vmap
    def of_all_lanes(axis_size, in_batched, positions, params, packed):
        graph = with_positions(packed.graph, packing.to_flat(packed, positions))
        energies, forces = compute(params, graph)
        defined = jnp.isfinite(energies[:axis_size, None, None])  # no force without an energy
        by_lane = packing.from_flat(packed, forces, positions.shape[1])
        return jnp.where(defined, by_lane, jnp.nan), True

    return lambda positions: force(positions, params, packed)


def _advance(stepper: Stepper, force, mask, lanes: Lanes, limits, max_steps):
    """One step of every lane. Returns the lanes and which of them ended."""
    before = lanes.state
    after = jax.vmap(lambda state: stepper.step(force, state))(before)
    n_steps = lanes.n_steps + 1
    first = n_steps == 0  # at rest and without force it did not move: only the force is new
    fmax = jnp.max(jnp.linalg.norm(after.force, axis=-1), axis=-1)
    finite = jnp.isfinite(fmax) & jnp.isfinite(jnp.where(mask[..., None], after.position, 0)).all((1, 2))
    ended = lanes.busy & (~finite | (fmax < limits[-1]) | (n_steps >= max_steps))
    reached = finite[:, None] & (fmax[:, None] < limits)
    now = Bank(  # a step into nowhere is not kept: the molecule stays where its force was last finite
        _choose(finite, after.position, before.position)[:, None],
        _choose(finite | first, after.force, before.force)[:, None],
        jnp.where(finite, n_steps, jnp.maximum(n_steps - 1, 0))[:, None],
        jnp.where(reached, CONVERGED, jnp.where(finite, MAX_STEPS, NONFINITE)[:, None]),
    )
    write = (reached | ended[:, None]) & (lanes.best.status == 0)
    best = jax.tree.map(lambda new, old: _choose(write, new, old), now, lanes.best)
    measured = jax.vmap(stepper.start)(before.position, after.force)
    state = jax.tree.map(lambda new, old: _choose(first, new, old), measured, after)
    return lanes._replace(state=state, n_steps=n_steps, best=best), ended


def _choose(flags, new, old):
    """`new` where the leading axes are flagged, else `old`."""
    return jnp.where(flags.reshape(flags.shape + (1,) * (old.ndim - flags.ndim)), new, old)


def _store(loop: Loop, ended) -> Loop:
    """Write the results of the lanes that ended into the bank and set those lanes free."""
    row = jnp.where(ended, loop.lanes.molecule, len(loop.bank.status))  # beyond the bank: not written
    bank = jax.tree.map(lambda all_, new: all_.at[row].set(new, mode="drop"), loop.bank, loop.lanes.best)
    lanes = loop.lanes._replace(busy=loop.lanes.busy & ~ended)
    return loop._replace(lanes=lanes, bank=bank, done=loop.done + jnp.sum(ended, dtype=jnp.int32))


def _refill(stepper: Stepper, waiting: Waiting, loop: Loop, room: packing.Budget) -> Loop:
    """Give the next waiting molecules to the free lanes, as many as fit beside the busy ones."""
    lanes, n_molecules = loop.lanes, len(waiting.positions)
    following = loop.taken + jnp.cumsum(~lanes.busy, dtype=jnp.int32) - 1
    fresh = ~lanes.busy & (following < n_molecules)
    molecule = jnp.where(fresh, following, lanes.molecule)
    # The busy lanes come first in the count: what they hold must stay.
    order = jnp.argsort(~lanes.busy, stable=True)
    wanted = jnp.where(lanes.busy | fresh, molecule, -1)[order]
    fitting = packing.fits(waiting.stored, wanted, room)
    fresh &= jnp.zeros_like(fresh).at[order].set(fitting)
    molecule = jnp.where(fresh, molecule, lanes.molecule)
    started = _at_rest(stepper, waiting.positions[molecule])
    state = jax.tree.map(lambda new, old: _choose(fresh, new, old), started, lanes.state)
    best = lanes.best._replace(status=_choose(fresh, 0, lanes.best.status))
    n_steps = jnp.where(fresh, -1, lanes.n_steps)
    return loop._replace(
        lanes=Lanes(state, molecule, lanes.busy | fresh, n_steps, best),
        taken=loop.taken + jnp.sum(fresh, dtype=jnp.int32),
    )
