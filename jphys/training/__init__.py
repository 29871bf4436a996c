"""Training: config, state, one jitted step, the loop."""

from jphys.lazy import attributes as _attributes

__getattr__ = _attributes(__name__)
