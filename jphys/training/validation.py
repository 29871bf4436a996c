"""Errors of a part of the data, by which a run chooses its best parameters and that its report shows."""

import numpy as np

from jphys.data.structures import graphs
from jphys.evaluation import energies, evaluate
from jphys.graph import Graph
from jphys.models.potential import Potential, felt_only
from jphys.training.parts import Part

__all__ = ["NonFiniteLoss", "errors"]


class NonFiniteLoss(RuntimeError):
    """The loss, its gradient or an error of validation or test is not finite; the message names the
    structures, and for a loss the step."""


def part_graphs(potential: Potential, part: Part) -> list[Graph]:
    """Graphs of the structures as they are, with no more edges than the potential feels."""
    return felt_only(potential, graphs(part.structures, cutoff=potential.cutoff, all_pairs=False))


def errors(potential: Potential, params, part: Part, made: list[Graph]) -> dict[str, float]:
    """MAE_E in meV per structure and MAE_F in eV/Å per component.

    Forces are 0 where there are no labels, since all structures are stable then; of scaled structures
    nothing is known, and there is no MAE_F.

    Args:
        potential: what is judged.
        params: its parameters.
        part: of the data.
        made: the graphs of the part.

    Raises:
        NonFiniteLoss: naming the structures whose energy or forces are not finite.
    """
    if part.scale is not None:
        energy = energies(potential, params, made)
        check_answers(part, np.isfinite(energy))
        return {"mae_energy_mev": float(1e3 * np.mean(np.abs(energy - part.energy)))}
    energy, forces = evaluate(potential, params, made)
    check_answers(part, np.isfinite(energy) & [np.isfinite(one).all() for one in forces])
    labels = part.structures.forces
    error = np.concatenate(forces) - (0.0 if labels is None else labels)
    return {
        "mae_energy_mev": float(1e3 * np.mean(np.abs(energy - part.energy))),
        "mae_force_ev_per_angstrom": float(np.mean(np.abs(error))),
    }


def check_answers(part: Part, finite: np.ndarray) -> None:
    """Refuse errors of structures (m,) whose energy or forces are not finite.

    Raises:
        NonFiniteLoss: naming them.
    """
    if not finite.all():
        names = ", ".join(part.structures.name[~finite])
        raise NonFiniteLoss(f"energy and forces must be finite, they are not for {names}")


def score(valid: dict[str, float]) -> float:
    """What `best` minimises: MAE_E in eV plus MAE_F in eV/Å."""
    return valid["mae_energy_mev"] / 1e3 + valid.get("mae_force_ev_per_angstrom", 0.0)
