"""The dynamics of `bench_simulation.py`: NVE of jax-md over the neighbour list of jphys, and of a peer."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import peer_mlip
from bench_systems import TEMPERATURE, TIME_STEP, build, model
from bench_timing import Candidate, measure
from jax_md import simulate, space

import jphys
from jphys import units
from jphys.md.motion import AHEAD

NEVER = -1e6  # Å of such a move, with which no list is outdated


class Motion:
    """NVE of jax-md over the neighbour list of jphys, in chunks of compiled steps.

    Raises:
        RuntimeError: in `advance`, where the list overflowed or a position is not finite.
    """

    def __init__(self, system: str, n_atoms: int, *, terms: bool = True):
        self.atoms = build(system, n_atoms)
        potential, params = model(system, terms=terms)
        box = jnp.asarray(self.atoms.cell.lengths())
        self.lists, energy = jphys.energy_neighbor_list(potential, params, self.atoms.numbers, box)
        dt = TIME_STEP[system] * units.FEMTOSECOND
        init, apply = simulate.nve(energy, space.free()[1], dt)
        self.neighbor = self.lists.allocate(jnp.asarray(self.atoms.positions))
        self.n_edges = int(jnp.sum(self.neighbor.receivers < len(self.atoms)))
        mass = jnp.asarray(self.atoms.get_masses())

        def start(R, neighbor):
            kT = TEMPERATURE * units.KELVIN
            return init(jax.random.key(0), R, kT, mass=mass, neighbor=neighbor)

        def run(state, neighbor, n_steps, kept):
            def step(_, carry):
                state, neighbor, renewed = carry
                ahead = AHEAD * dt * jnp.max(jnp.abs(state.velocity))
                new = neighbor.update(state.position, ahead=jnp.where(kept, NEVER, ahead))
                renewed += jnp.any(new.reference != neighbor.reference)
                return apply(state, neighbor=new), new, renewed

            return jax.lax.fori_loop(0, n_steps, step, (state, neighbor, jnp.zeros((), jnp.int32)))

        self.state = jax.jit(start)(jnp.asarray(self.atoms.positions), self.neighbor)
        self.run = jax.jit(run)
        self.find = jax.jit(lambda R, neighbor: neighbor.update(R))
        self.steps, self.renewals = 0, 0

    def advance(self, n_steps: int) -> None:
        """So many steps of dynamics; the list is found anew where it has to be."""
        found = self.run(self.state, self.neighbor, n_steps, False)
        self.state, self.neighbor, renewed = jax.block_until_ready(found)
        if self.neighbor.did_buffer_overflow:
            raise RuntimeError(
                f"the list of {len(self.atoms)} atoms must not overflow within {n_steps} steps"
            )
        if not jnp.isfinite(self.state.position).all():
            raise RuntimeError(f"positions must be finite, got NaN within step {self.steps + n_steps}")
        self.steps, self.renewals = self.steps + n_steps, self.renewals + int(renewed)

    def advance_on_this_list(self, n_steps: int) -> None:
        """The cost of steps without any search; the state stays as it was."""
        jax.block_until_ready(self.run(self.state, self.neighbor, n_steps, True))

    def search(self) -> None:
        """Find the list once: all atoms are moved by a third of the box, which outdates it."""
        moved = self.state.position + jnp.asarray(self.atoms.cell.lengths()) / 3
        jax.block_until_ready(self.find(moved, self.neighbor))

    def candidates(self, steps: int) -> list[Candidate]:
        """Steps as they come, steps on a kept list, one search."""
        n = len(self.atoms)
        return [
            Candidate("jphys", lambda _: self.advance(steps), n * steps),
            Candidate("jphys, list kept", lambda _: self.advance_on_this_list(steps), n * steps),
            Candidate("search", lambda _: self.search(), n),
        ]


def pairs_alone(system: str, size: int, steps: int) -> Candidate:
    """The same dynamics on a kept list without angles and torsions."""
    motion = Motion(system, size, terms=False)
    work = len(motion.atoms) * steps
    return Candidate("pairs alone", lambda _: motion.advance_on_this_list(steps), work)


def start_peers(config, key: tuple[str, int], motion: Motion) -> list[Candidate]:
    """The same box, time step and number of steps by the models of the peer, where it takes part."""
    if config.peer != "mlip" or key[1] not in config.peer_sizes:
        return []
    settings = {"dt": TIME_STEP[key[0]], "steps": config.steps, "temperature": TEMPERATURE}
    work = {
        kind: peer_mlip.start(str(config.peer_python), kind, motion.atoms, **settings).work
        for kind in peer_mlip.KINDS
    }
    return [Candidate(f"mlip {kind}", work[kind], len(motion.atoms) * config.steps) for kind in work]


def run(config) -> dict[str, Any]:
    """µs per atom and step of NVE, what the search for pairs and the bonded terms take of it, and its growth
    with the size."""
    motions = {(system, size): Motion(system, size) for system in config.systems for size in config.sizes}
    ours = {key: motion.candidates(config.steps) for key, motion in motions.items()}
    peers = {key: start_peers(config, key, motion) for key, motion in motions.items()}
    bare = {system: pairs_alone(system, max(config.sizes), config.steps) for system in config.systems}
    measure([c for key in motions for c in ours[key] + peers[key]] + list(bare.values()), config.rounds)
    rows, ratios, cost = [], {}, {}
    for (system, size), motion in motions.items():
        whole, kept, search = ours[system, size]
        cost[system, size] = whole.per_unit
        per_renewal = motion.steps / motion.renewals if motion.renewals else None
        box = {
            "system": system,
            "atoms": len(motion.atoms),
            "pairs per atom": motion.n_edges / len(motion.atoms),
        }
        rows.append(
            {
                **box,
                "candidate": whole.name,
                "µs per atom and step": 1e6 * whole.per_unit,
                "on a kept list": 1e6 * kept.per_unit,
                "one search, µs per atom": 1e6 * search.per_unit,
                "steps per search": per_renewal,
                "share of searches %": 100 * search.per_unit / per_renewal / whole.per_unit
                if per_renewal
                else None,
                "first call s": whole.first_s,
                "slowest / fastest round": whole.spread,
            }
        )
        for peer in peers[system, size]:
            rows.append(
                {
                    **box,
                    "candidate": peer.name,
                    "µs per atom and step": 1e6 * peer.per_unit,
                    "first call s": peer.first_s,
                    "slowest / fastest round": peer.spread,
                }
            )
            ratios[f"speed of jphys / {peer.name}, {system} of {len(motion.atoms)}"] = (
                peer.per_unit / whole.per_unit
            )
    for system in config.systems:
        kept = ours[system, max(config.sizes)][1]
        ratios[f"cost of bonded terms, {system} of {kept.units / config.steps:.0f}, on a kept list"] = (
            kept.per_unit / bare[system].per_unit
        )
        for small, large in itertools.pairwise(config.sizes):
            name = f"growth per atom, {system}, {small} to {large}"
            ratios[name] = cost[system, large] / cost[system, small]
    return {"rows": rows, "ratios": ratios}
