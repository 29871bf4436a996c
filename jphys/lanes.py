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

from jphys import coordinates, packing
from jphys.compiling import remembered
from jphys.coordinates import Freedom, to_rows
from jphys.graph import Graph
from jphys.shapes import Shapes, round_size, rung, rungs

CONVERGED, MAX_STEPS, NONFINITE, OUTDATED, NEARER = 1, 2, 3, 4, 5
"""Outcomes of a molecule; an outdated one goes on with new edges, one that came nearer with a new guide."""

ROUNDS_PER_CALL = 100
"""Steps between two looks of the host, for the progress bar."""

ROWS = 65_536
"""Places for atoms in the bank, up to which they are rounded generously."""


class Stepper(NamedTuple):
    """A minimiser of one molecule; its state has the fields `position` and `force`, both (n_rows, 3)."""

    name: str
    start: Callable[[jax.Array, jax.Array, Any], Any]  # (positions, force, guide) -> state at rest
    step: Callable[[Callable, Any], Any]  # (force function of positions, state) -> state
    # (graphs, free (m, n_rows) bool) -> what each starts with, numpy (m, …); host side
    guide: Callable[[Sequence[Graph], np.ndarray], Any] = lambda graphs, free: ()
    # eV/Å; a molecule that starts with a larger force begins once more below it, with a guide of that place
    rough: float = np.inf
    dense: bool = False  # its state has a matrix of all coordinates: memory bounds how many are in flight
    images: int = 1  # structures of as many atoms that move as one: what is called a molecule here is a band
    # (given, positions, energies (images,), forces) -> what the molecule follows in place of its forces
    along: Callable[..., jax.Array] = lambda given, positions, energies, forces: forces


class Bank(NamedTuple):
    """Results per molecule and force threshold."""

    rows: jax.Array  # (…, n_fmax, n_rows, 3) Å, see `jphys.coordinates`
    forces: jax.Array  # (…, n_fmax, n_rows, 3) eV/Å
    n_steps: jax.Array  # (…, n_fmax) int32
    status: jax.Array  # (…, n_fmax) int32, 0 while the threshold is not reached


class Lanes(NamedTuple):
    """What every lane is doing; `n_steps` is −1 until the force of a new molecule is known."""

    state: Any
    molecule: jax.Array  # (lanes,) row of the bank
    busy: jax.Array  # (lanes,) bool
    n_steps: jax.Array  # (lanes,)
    far: jax.Array  # (lanes,) bool: began with a rough force, and may begin once more
    best: Bank  # (lanes, …) results so far


class Waiting(NamedTuple):
    """All the molecules, on the device."""

    stored: packing.Stored
    rows: jax.Array  # (m, n_rows, 3) Å at the start, zeros beyond the atoms
    freedom: Freedom
    guide: Any  # (m, …) what the minimiser knows of each beforehand
    given: Any  # (m, …) what `Stepper.along` wants to know of each
    again: jax.Array  # (m,) bool: may begin once more
    max_steps: jax.Array  # (m,) steps after which a molecule is given up
    queue: jax.Array  # (m,) the order in which they are taken
    n_queue: jax.Array  # () how many of them


class Judged(NamedTuple):
    """The lanes after a step, and what decides whether they go on."""

    state: Any
    fmax: jax.Array  # (lanes,) eV/Å
    outdated: jax.Array  # (lanes,) bool: pairs may be missing
    rough: jax.Array  # (lanes,) bool: the force is, and the molecule may begin once more
    max_steps: jax.Array  # (lanes,)


class Shape(NamedTuple):
    """Static sizes of a loop."""

    room_nodes: int  # of what all lanes hold
    room_edges: int
    members: int  # molecules that wait
    n_max: int  # atoms of the largest
    n_node: int  # of all that wait
    n_edge: int


class Loop(NamedTuple):
    lanes: Lanes
    bank: Bank
    taken: jax.Array  # () molecules handed out
    done: jax.Array  # () molecules finished


def run(
    stepper: Stepper,
    energy,
    params,
    graphs: Sequence[Graph],
    fmaxes,
    *,
    n_lanes,
    relax_cell,
    bar: tqdm,
    **how,
):
    """Advance every chosen molecule until its largest force is below the last of `fmaxes`.

    Args:
        stepper: the minimiser.
        energy: function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: one graph of one structure for each image of m molecules, those of a molecule in a row.
        fmaxes: eV/Å, descending; coordinates are recorded where each was first reached.
        n_lanes: molecules advanced at once.
        relax_cell: whether cells move too.
        bar: progress bar, counts molecules.
        **how: chosen, freedom (with `free` of one image), again, max_steps as in `Waiting`, numpy; given, a
            function of the number of rows of an image; guide, a function (graphs, free, chosen) in place of
            the minimiser's, where it needs the surface.

    Returns:
        Bank of numpy arrays (m, …), zeros for molecules that were not chosen, and what of its forces is
        compared with fmax (m, n_fmax).
    """
    m = len(graphs) // stepper.images
    n_lanes = min(n_lanes, rung(m, 8))
    program = _program(stepper, energy, relax_cell, n_lanes)
    rounds = min(ROUNDS_PER_CALL, int(np.max(how["max_steps"]))) * -(-len(how["chosen"]) // n_lanes)
    shape = _shape(program.shapes, graphs, stepper.images, min(n_lanes, m), rounds)
    room = packing.Budget(shape.room_nodes, shape.room_edges)
    waiting = _wait(stepper, graphs, shape, relax_cell, **how)
    limits = jnp.asarray(fmaxes, waiting.rows.dtype)
    loop, done = program.begin(waiting, len(fmaxes)), 0
    while done < len(how["chosen"]):
        loop = program.advance(params, waiting, loop, limits, room)
        bar.update(int(loop.done) - done)
        done = int(loop.done)
    n_atoms = jnp.maximum(waiting.freedom.n_atoms, 1)[:, None]
    fmax = coordinates.largest(loop.bank.forces, n_atoms, relax_cell)
    return jax.tree.map(lambda field: np.asarray(field)[:m], (loop.bank, fmax))


def _shape(shapes: Shapes[Shape], graphs: Sequence[Graph], images: int, members: int, rounds: int) -> Shape:
    """A shape, compiled already where one is large enough, for molecules of which so many move at once."""
    n_atoms = [len(graph.nodes.species) for graph in graphs]
    n_edges = [len(graph.senders) for graph in graphs]
    rest = len(graphs) // images, max(n_atoms), sum(n_atoms), sum(n_edges)
    atoms, edges = (np.reshape(counts, (-1, images)).sum(axis=1) for counts in (n_atoms, n_edges))
    needs = Shape(*packing.budget(atoms, edges, members), *rest)
    tight = Shape(*(round_size(size, digits=5) for size in needs))
    generous = Shape(*rungs(tight[:2], (64, 256)), *map(rung, tight[2:], (16, 32, 256, 4096)))
    if generous.members * images * generous.n_max > ROWS:
        generous = generous._replace(members=tight.members, n_max=tight.n_max)
    return shapes.choose(needs, tight, generous, calls=rounds)


def _wait(
    stepper: Stepper,
    graphs: Sequence[Graph],
    shape: Shape,
    relax_cell,
    *,
    chosen,
    freedom: Freedom,
    again,
    max_steps,
    given=None,
    guide=None,
) -> Waiting:
    images = stepper.images
    spare = shape.members - len(graphs) // images

    def filled(values):
        values = np.asarray(values)
        return jnp.asarray(np.concatenate([values, np.zeros((spare, *values.shape[1:]), values.dtype)]))

    def spread(values):
        everyone = np.zeros((shape.members, *values.shape[1:]), values.dtype)
        everyone[chosen] = values
        return jnp.asarray(everyone)

    rows = np.stack([to_rows(np.asarray(g.nodes.positions), shape.n_max, relax_cell) for g in graphs])
    rows = rows.reshape(-1, images * rows.shape[1], 3)
    free = np.tile(coordinates.with_room(freedom.free, shape.n_max, relax_cell), (1, images))
    stored = packing.store(graphs, members=shape.members * images, n_node=shape.n_node, n_edge=shape.n_edge)
    moving = [graphs[i * images + image] for i in chosen for image in range(images)]
    known = guide(moving, free[chosen], chosen) if guide else stepper.guide(moving, free[chosen])
    return Waiting(
        jax.tree.map(jnp.asarray, stored),
        filled(rows),
        Freedom(*map(filled, freedom._replace(free=free))),
        jax.tree.map(spread, known),
        jax.tree.map(filled, given(shape.n_max) if given else ()),
        filled(again),
        filled(np.asarray(max_steps, np.int32)),
        jnp.asarray(np.resize(np.asarray(chosen, np.int32), shape.members)),
        jnp.asarray(np.int32(len(chosen))),
    )


def _begin(stepper: Stepper, waiting: Waiting, n_lanes: int, n_fmax: int) -> Loop:
    """All lanes free, nothing done."""
    rows = waiting.rows
    vectors = jnp.zeros((len(rows), n_fmax, *rows.shape[1:]), rows.dtype)
    counts = jnp.zeros((len(rows), n_fmax), jnp.int32)
    bank = Bank(vectors, vectors, counts, counts)
    idle, zero = jnp.zeros(n_lanes, jnp.int32), jnp.zeros((), jnp.int32)
    state = _at_rest(stepper, waiting, idle)
    best = jax.tree.map(lambda field: field[idle], bank)
    return Loop(Lanes(state, idle, idle > 0, idle, idle > 0, best), bank, zero, zero)


def _at_rest(stepper: Stepper, waiting: Waiting, molecule):
    """States (lanes, …) whose force is not known yet: zero."""
    rows = waiting.rows[molecule]
    return jax.vmap(stepper.start)(rows, jnp.zeros_like(rows), _of(waiting.guide, molecule))


def _of(columns, molecule):
    """Rows (lanes, …) of what is known of every molecule (m, …)."""
    return jax.tree.map(lambda column: column[molecule], columns)


def _structures(molecule, images: int):
    """The structures (k · images,) of molecules (k,); −1 for none."""
    every = molecule[:, None] * images + jnp.arange(images)
    return jnp.where(molecule[:, None] >= 0, every, -1).ravel()


class Program(NamedTuple):
    """A loop under jit, and the shapes that it is compiled for."""

    begin: Callable
    advance: Callable
    shapes: Shapes[Shape]


@remembered(8)
def _program(stepper: Stepper, energy, relax_cell: bool, n_lanes: int) -> Program:
    """`ROUNDS_PER_CALL` steps of all lanes; jit keeps one compilation per shape."""
    compute = coordinates.forces(energy, relax_cell)

    def advance(params, waiting, loop, limits, room: packing.Budget):
        def going(carry):
            return (carry[0] < ROUNDS_PER_CALL) & (carry[1].done < waiting.n_queue)

        def one_round(carry):
            round_, loop = carry
            loop = _refill(stepper, waiting, loop, room)
            chosen = jnp.where(loop.lanes.busy, loop.lanes.molecule, -1)
            packed = packing.pack(waiting.stored, _structures(chosen, stepper.images), room)
            freedom, given = _of((waiting.freedom, waiting.given), loop.lanes.molecule)
            surface = _shared_surface(compute, params, packed, stepper.images)
            one_step = functools.partial(_step, stepper, surface)
            after = jax.vmap(one_step)(loop.lanes.state, freedom.free, given)
            start = waiting.rows[loop.lanes.molecule]
            fmax = coordinates.largest(after.force, freedom.n_atoms, relax_cell)
            judged = Judged(
                after,
                fmax,
                coordinates.outdated(after.position, start, freedom, relax_cell),
                waiting.again[loop.lanes.molecule] & (fmax >= stepper.rough),
                waiting.max_steps[loop.lanes.molecule],
            )
            measured = jax.vmap(stepper.start)(
                loop.lanes.state.position, after.force, _of(waiting.guide, loop.lanes.molecule)
            )
            lanes, ended = _advance(measured, judged, loop.lanes, limits)
            return round_ + 1, _store(loop._replace(lanes=lanes), ended)

        return jax.lax.while_loop(going, one_round, (jnp.int32(0), loop))[1]

    def begin(waiting, n_fmax: int):
        return _begin(stepper, waiting, n_lanes, n_fmax)

    shapes: Shapes[Shape] = Shapes(lambda shape: shape.room_nodes + shape.room_edges)
    return Program(jax.jit(begin, static_argnames="n_fmax"), jax.jit(advance, static_argnames="room"), shapes)


def _step(stepper: Stepper, surface, state, free, given):
    """One step of one lane, on what may move."""

    def force(rows):
        energies, forces = surface(rows)
        return stepper.along(given, rows, energies, forces * free[:, None]) * free[:, None]  # NaN stays NaN

    return stepper.step(force, state)


def _shared_surface(compute, params, packed: packing.Pack, images: int):
    """Energies (images,) and forces of one molecule by its rows; vmapped over the lanes, one evaluation."""

    # Params and structures are arguments, not closed over: jax-md jits inside, and a rule cannot capture.
    @custom_vmap
    def surface(rows, params, packed):
        return jnp.zeros(images, rows.dtype), jnp.zeros_like(rows)  # the shapes; lanes are always vmapped

    @surface.def_vmap
    def of_all_lanes(axis_size, in_batched, rows, params, packed):
        energies, forces = compute(params, packed, rows.reshape(axis_size * images, -1, 3))
        forces = jnp.where(jnp.isfinite(energies[:, None, None]), forces, jnp.nan)  # none without an energy
        return (energies.reshape(axis_size, images), forces.reshape(rows.shape)), (True, True)

    return lambda rows: surface(rows, params, packed)


def _advance(measured, judged: Judged, lanes: Lanes, limits):
    """Every lane after its step, `measured` where its first force is known now; and which of them ended."""
    before, after, fmax = lanes.state, judged.state, judged.fmax
    n_steps = lanes.n_steps + 1
    first = n_steps == 0  # at rest and without force it did not move: only the force is new
    finite = jnp.isfinite(fmax) & jnp.isfinite(after.position).all((1, 2))
    valid = finite & ~judged.outdated
    nearer = valid & lanes.far & ~judged.rough & ~first
    ended = lanes.busy & (~valid | nearer | (fmax < limits[-1]) | (n_steps >= judged.max_steps))
    reached = valid[:, None] & (fmax[:, None] < limits)
    failure = jnp.where(finite, OUTDATED, NONFINITE)
    going = jnp.where(nearer & (n_steps < judged.max_steps), NEARER, MAX_STEPS)
    now = Bank(  # a step into nowhere is not kept: the molecule stays where its force was last known
        _choose(valid, after.position, before.position)[:, None],
        _choose(valid | first, after.force, before.force)[:, None],
        jnp.where(valid, n_steps, jnp.maximum(n_steps - 1, 0))[:, None],
        jnp.where(reached, CONVERGED, jnp.where(valid, going, failure)[:, None]),
    )
    write = (reached | ended[:, None]) & (lanes.best.status == 0)
    best = jax.tree.map(lambda new, old: _choose(write, new, old), now, lanes.best)
    state = jax.tree.map(lambda new, old: _choose(first, new, old), measured, after)
    far = jnp.where(first, judged.rough, lanes.far)
    return lanes._replace(state=state, n_steps=n_steps, far=far, best=best), ended


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
    lanes = loop.lanes
    following = loop.taken + jnp.cumsum(~lanes.busy, dtype=jnp.int32) - 1
    fresh = ~lanes.busy & (following < waiting.n_queue)
    molecule = jnp.where(fresh, waiting.queue[following], lanes.molecule)
    # The busy lanes come first in the count: what they hold must stay.
    order = jnp.argsort(~lanes.busy, stable=True)
    wanted = jnp.where(lanes.busy | fresh, molecule, -1)[order]
    fitting = packing.fits(waiting.stored, _structures(wanted, stepper.images), room)
    fresh &= jnp.zeros_like(fresh).at[order].set(fitting.reshape(len(order), -1).all(axis=1))
    molecule = jnp.where(fresh, molecule, lanes.molecule)
    started = _at_rest(stepper, waiting, molecule)
    state = jax.tree.map(lambda new, old: _choose(fresh, new, old), started, lanes.state)
    best = lanes.best._replace(status=_choose(fresh, 0, lanes.best.status))
    n_steps = jnp.where(fresh, -1, lanes.n_steps)
    return loop._replace(
        lanes=Lanes(state, molecule, lanes.busy | fresh, n_steps, lanes.far, best),
        taken=loop.taken + jnp.sum(fresh, dtype=jnp.int32),
    )
