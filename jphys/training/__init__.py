"""Training: config, state, one jitted step, the loop."""

from typing import TYPE_CHECKING

from jphys.lazy import attributes as _attributes

if TYPE_CHECKING:
    from jphys.training import config, optimizer, parts, setup, step, validation

__all__ = ["config", "optimizer", "parts", "setup", "step", "validation"]

__getattr__ = _attributes(__name__)
