"""Energy models. A new one adds its config here; everything else works through `Potential`."""

from typing import Any

from jphys.compiling import remembered
from jphys.models.message_passing import MessagePassingConfig, make_message_passing
from jphys.models.potential import Potential
from jphys.models.transformer import TransformerConfig, make_transformer

FACTORIES: dict[type, Any] = {
    TransformerConfig: make_transformer,
    MessagePassingConfig: make_message_passing,
}
CONFIGS: dict[str, type] = {config.__name__: config for config in FACTORIES}


def make_potential(config) -> Potential:
    """The potential that a config describes; of equal configs one, with what has been compiled for it.

    Raises:
        ValueError: if the config belongs to no model of jphys.
    """
    if type(config) not in FACTORIES:
        raise ValueError(f"config must be one of {', '.join(CONFIGS)}, got {type(config).__name__}")
    return _make(config, repr(config))  # 5 and 5.0 are equal, and not the same


@remembered(64)
def _make(config, _: str) -> Potential:
    return FACTORIES[type(config)](config)
