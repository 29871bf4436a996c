"""How much time XLA spends on its programs: little, where the run is over before better ones pay."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

__all__ = ["compile_quickly", "quick_environment"]

F = TypeVar("F", bound=Callable[..., Any])

# Emitters of fusions by way of MLIR: with all optimisations they make the faster programs in less time,
# without them they are most of the time that compiling takes. Later versions of XLA have no others, and
# stop at the unknown flag.
_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
_LAST_WITH_A_CHOICE = (0, 10)


def quick_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables with which a process compiles quickly: those of `compile_quickly`.

    None where JAX_DISABLE_MOST_OPTIMIZATIONS is set already, to whichever value.
    """
    if "JAX_DISABLE_MOST_OPTIMIZATIONS" in environment:
        return {}
    found = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    if jax.__version_info__[:2] <= _LAST_WITH_A_CHOICE:
        found["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {_EMITTERS}".strip()
    return found


def compile_quickly() -> None:
    """Let this process and those it starts compile without optimisations: a third of the time or less.

    For short runs and for tests; a program then takes several times as long. To be called before the first
    jax computation, because XLA reads its flags once.
    """
    found = quick_environment()
    os.environ.update(found)
    if found:
        jax.config.update("jax_disable_most_optimizations", True)


def remembered(maxsize: int) -> Callable[[F], F]:
    """`functools.lru_cache`, of a function that compiles, for arguments that may not be hashable.

    With one that is not, what is compiled is not remembered.
    """

    def decorate(function: F) -> F:
        cached = functools.lru_cache(maxsize)(function)

        @functools.wraps(function)
        def call(*arguments):
            try:
                hash(arguments)
            except TypeError:
                return function(*arguments)
            return cached(*arguments)

        return call  # pyright: ignore[reportReturnType]

    return decorate
