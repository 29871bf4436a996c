"""flax modules as pure functions, and the layers that several models share."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jphys import ops

__all__ = ["Regressor", "pure_functions"]


class Regressor(nn.Module):
    """Two-layer MLP to `outputs` values, starting near zero."""

    channels: int
    outputs: int

    @nn.compact
    def __call__(self, x):
        hidden = ops.silu(nn.Dense(self.channels)(x))
        return nn.Dense(self.outputs, kernel_init=nn.initializers.variance_scaling(0.01, "fan_in", "normal"))(
            hidden
        )


def pure(module: Any, x) -> tuple[Any, Any]:
    """A submodule as a function (params, x) and its params, which loops of JAX can take."""
    if module.is_initializing():
        module(x)
    free, variables = module.unbind()
    return (lambda params, x: free.apply({"params": params}, x)), variables["params"]


def method_of(module: nn.Module, name: str) -> Any:
    """A method (graph) of a module as a function (params, graph)."""
    return lambda params, graph: module.apply({"params": params}, graph, method=name)


def pure_functions(module: nn.Module) -> tuple[Callable, Callable]:
    """`init` and `node_energies` as `atomwise` takes them.

    The module has the methods `node_energies` and `everything`, which calls all heads.
    """

    def init(key, graph) -> Any:
        return module.init(key, graph, method="everything")["params"]

    return init, method_of(module, "node_energies")
