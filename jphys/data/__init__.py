"""Structures to learn from and to judge by: one module per dataset, splits, the loader."""

from jphys.lazy import attributes as _attributes

__getattr__ = _attributes(__name__)
