"""Structures to learn from and to judge by: one module per dataset, splits, the loader."""

from jphys.lazy import attributes

__getattr__ = attributes(__name__)
