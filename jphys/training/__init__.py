"""Training: config, state, one jitted step, the loop."""

from jphys.lazy import attributes

__getattr__ = attributes(__name__)
