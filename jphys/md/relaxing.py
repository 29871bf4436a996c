"""Relaxation of many structures of mixed size in compiled loops, by the minimiser that suits each."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jphys.bfgs import SIZES, Bfgs, bfgs_stepper
from jphys.coordinates import CELL_ROWS
from jphys.graph import Graph
from jphys.lanes import Stepper
from jphys.md.fire import Fire, fire_stepper
from jphys.models.potential import Potential
from jphys.relaxation import Relaxation, check_fixed, check_request, joined, relax_with
from jphys.shapes import matrices_at_once

Method = Literal["auto", "fire", "bfgs"]
DENSE = 128
"""Atoms up to which "auto" takes the minimiser that keeps a matrix of all coordinates."""
IN_CELLS = 0.1
"""Å, the longest step of BFGS where not given and a graph has a cell: edges reach 0.5 Å beyond the cutoff."""


def relax(potential, params, graphs: Sequence[Graph], *, fmax: float = 0.01, **settings) -> Relaxation:
    """Relax structures of mixed size, many at once in one compiled loop.

    `method` "fire" is jax-md's FIRE; "bfgs" a quasi-Newton method that starts from the Hessian of the
    classical prior (`jphys.bfgs`) and takes a fifth of the steps or fewer; "auto" takes it for a Potential
    where all graphs are molecules of up to 128 atoms, and FIRE otherwise, or where FIRE's settings are given.

    Graphs with all pairs, the default of `make_graph` for molecules, keep their edges. For others, a
    Potential says how far it sees: their edges are found anew as atoms move, bonds staying as they were.
    Any other function sees the edges it was given.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m graphs of one structure each; not changed.
        fmax: converged when every atom has |F_i| < fmax, eV/Å.
        **settings: max_steps, method, relax_cell, fixed, fire, bfgs, n_lanes, progress as in `relax_to`.

    Returns:
        Relaxation. A structure with a force or position that is not finite stops with status
        "nonfinite" at its last finite positions; converged structures take no further steps.

    Raises:
        ValueError: as `relax_to`.
    """
    return relax_to(potential, params, graphs, fmaxes=(fmax,), **settings)[0]


def relax_to(
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    fmaxes: Sequence[float],
    max_steps: int = 500,
    method: Method = "auto",
    relax_cell: bool = False,
    fixed: Sequence | None = None,
    fire: Fire | None = None,
    bfgs: Bfgs | None = None,
    n_lanes: int = 32,
    progress: bool = False,
) -> list[Relaxation]:
    """As `relax`, to several force thresholds in one go.

    Args:
        potential, params, graphs: as `relax`.
        fmaxes: thresholds in eV/Å, in any order.
        max_steps: steps after which a structure is given up with status "max_steps".
        method: "auto", "fire" or "bfgs", as in `relax`; what was taken stands in `Relaxation.method`.
        relax_cell: let cells relax as well, all six strains; converged when also every row of Vσ/n, the
            virial per atom, is shorter than fmax · 1 Å, as with ASE's cell filters. Molecules have none.
        fixed: for each graph None or (n_i,) bool, atoms that stay where they are; in a cell that relaxes,
            at their fractional coordinates.
        fire, bfgs: settings of the minimisers; giving one chooses it.
        n_lanes: structures advanced at once.
        progress: show a progress bar.

    Returns:
        One Relaxation per entry of `fmaxes`, in their order, each with the positions where its
        threshold was first met, or where the structure stopped.

    Raises:
        ValueError: no threshold or one ≤ 0, max_steps < 0, n_lanes < 1, a graph of several structures, fixed
            of another length or shape, an unknown method or settings of one that is not taken, more than 512
            atoms for BFGS, a max_step too long for the edges of a crystal.
    """
    check_request(potential, graphs, fmaxes=fmaxes, max_steps=max_steps, n_lanes=n_lanes)
    _check_method(method, fire, bfgs)
    graphs, held = list(graphs), check_fixed(fixed, graphs)
    stepper = _stepper(potential, graphs, method, fire, bfgs)
    largest = max((len(graph.nodes.species) for graph in graphs), default=1)
    each = matrices_at_once(largest, cell_rows=CELL_ROWS) if stepper.dense else max(len(graphs), 1)
    how = {"fmaxes": fmaxes, "max_steps": max_steps, "relax_cell": relax_cell, "n_lanes": n_lanes}
    rests = []
    for first in range(0, max(len(graphs), 1), each):
        part = slice(first, first + each)
        how |= {"fixed": held[part], "progress": progress}
        rests.append(relax_with(stepper, potential, params, graphs[part], **how))
    return [joined(same) for same in zip(*rests)]


def _check_method(method: Method, fire: Fire | None, bfgs: Bfgs | None) -> None:
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if fire is not None and (method == "bfgs" or bfgs is not None):
        raise ValueError(f"fire must not be given beside bfgs, got {fire}")
    if bfgs is not None and method == "fire":
        raise ValueError(f"bfgs must not be given with the method fire, got {bfgs}")


def _stepper(
    potential, graphs: Sequence[Graph], method: Method, fire: Fire | None, bfgs: Bfgs | None
) -> Stepper:
    """The minimiser that was asked for, or the quicker one."""
    largest = max((len(graph.nodes.species) for graph in graphs), default=0)
    cells = any(np.asarray(graph.globals.cell).any() for graph in graphs)
    if method == "auto" and bfgs is None:
        molecules = isinstance(potential, Potential) and not cells and largest <= DENSE
        method = "bfgs" if molecules and fire is None else "fire"
    if method == "fire":
        return fire_stepper(fire or Fire())
    if largest > SIZES[-1]:
        raise ValueError(f"graphs must have at most {SIZES[-1]} atoms for bfgs, got {largest}: take fire")
    return bfgs_stepper(bfgs or (Bfgs(max_step=IN_CELLS) if cells else Bfgs()))
