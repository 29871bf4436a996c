"""What all models share: the base of their configs, and the registry from which everything else follows."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import numpy as np

from jphys import elements
from jphys.compiling import remembered
from jphys.models.potential import Potential


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The fields that the config of every model has.

    Raises:
        ValueError: for a cutoff that is not positive and finite, more elements than the tables hold.
    """

    cutoff: float = 5.0
    """τ, Å; longer pairs do not change the energy."""
    max_z: int = elements.MAX_Z
    """Largest atomic number; the masked-atom softmax runs over Z = 1..max_z."""
    reference_energies: tuple[tuple[int, float], ...] = ()
    """(Z, eV) per fitted element; energies are relative to their sum. Other elements then give NaN."""
    zero_point: bool | None = dataclasses.field(default=None, repr=False)  # it changes no motion
    """Whether energies hold the zero-point energy, as QM9's do; None: nobody said."""

    def __post_init__(self):
        if not 0 < self.cutoff < np.inf:
            raise ValueError(f"cutoff must be positive and finite, got {self.cutoff}")
        if not isinstance(self.max_z, (int, np.integer)):
            raise ValueError(f"max_z must be a whole number, got {self.max_z}")
        if not 1 <= self.max_z <= elements.MAX_Z:
            raise ValueError(f"max_z must be from 1 to {elements.MAX_Z}, got {self.max_z}")

    def check_data(self, species: set[int], *, has_bonds: bool) -> None:
        """Refuse data that this model cannot be trained on.

        Args:
            species: atomic numbers of the data.
            has_bonds: whether its structures know their bonds.

        Raises:
            ValueError: naming the field of the model.
        """
        if max(species) > self.max_z:
            raise ValueError(f"model.max_z must be at least {max(species)}, as in the data, got {self.max_z}")

    def fitted(self, references: Mapping[int, float], spread: float) -> Self:
        """The config with what training takes from its data before the first step.

        Args:
            references: reference energy of every element, {Z: eV}.
            spread: root mean square of the relative energy per atom, eV; for models that scale by it.
        """
        return dataclasses.replace(self, reference_energies=tuple(sorted(references.items())))


FACTORIES: dict[type[ModelConfig], Callable[[Any], Potential]] = {}
CONFIGS: dict[str, type[ModelConfig]] = {}


def register(config: type[ModelConfig], make: Callable[[Any], Potential]) -> None:
    """Make a model known: to `make_potential`, the trainer, checkpoints and the command line.

    Args:
        config: the class of its configs, a frozen dataclass; its name goes into checkpoints.
        make: the function from such a config to the Potential. One that is registered again, as a cell of a
            notebook that is run again does, takes the place of the old one.

    Raises:
        ValueError: for a class that is no frozen dataclass derived from ModelConfig, or whose name another
            model has.
    """
    if not (isinstance(config, type) and issubclass(config, ModelConfig)):
        raise ValueError(f"config must be a class derived from ModelConfig, got {config!r}")
    if "__dataclass_fields__" not in vars(config) or not vars(config)["__dataclass_params__"].frozen:
        raise ValueError(f"config must be a frozen dataclass, got {config.__name__}")
    known = CONFIGS.get(config.__name__)
    if known is not None and (known.__module__, known.__qualname__) != (
        config.__module__,
        config.__qualname__,
    ):
        raise ValueError(
            f"config must have a name that no other model has, got {config.__name__} of {config.__module__}, "
            f"which {known.__module__} has"
        )
    if known is not None:
        del FACTORIES[known]
    FACTORIES[config], CONFIGS[config.__name__] = make, config


def make_potential(config: ModelConfig) -> Potential:
    """The potential that a config describes; of equal configs one, with what has been compiled for it.

    Raises:
        ValueError: if the config belongs to no registered model.
    """
    if type(config) not in FACTORIES:
        raise ValueError(f"config must be one of {', '.join(CONFIGS)}, got {type(config).__name__}")
    return _make(config, FACTORIES[type(config)], repr(config))  # 5 and 5.0 are equal, and not the same


@remembered(64)
def _make(config, make: Callable[[Any], Potential], _: str) -> Potential:
    return _compiled(make(config))


def _compiled(potential: Potential) -> Potential:
    """The potential with its functions compiled where they are called as they are, and inlined where traced.

    One operation after the other, an energy compiles some hundred programs, a gradient a thousand.
    """

    def compiled(function):
        return jax.jit(function, inline=True)

    return dataclasses.replace(
        potential,
        init=compiled(potential.init),
        energy=compiled(potential.energy),
        atom_energies=compiled(potential.atom_energies),
        heads={name: compiled(head) for name, head in potential.heads.items()},
    )
