"""Energy models. A new one is registered here, or anywhere; everything else works through `Potential`."""

from jphys.models.base import CONFIGS, ModelConfig, make_potential, register
from jphys.models.message_passing import MessagePassingConfig, make_message_passing
from jphys.models.potential import Potential
from jphys.models.transformer import TransformerConfig, make_transformer

__all__ = [
    "CONFIGS",
    "MessagePassingConfig",
    "ModelConfig",
    "Potential",
    "TransformerConfig",
    "make_potential",
    "register",
]

register(TransformerConfig, make_transformer)
register(MessagePassingConfig, make_message_passing)
