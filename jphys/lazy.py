"""Modules that load on first use: `import jphys` costs what `import jax` costs."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def attributes(package: str, homes: Mapping[str, str] = {}) -> Callable[[str], Any]:
    """A module's `__getattr__` (PEP 562): names from the modules they live in, and the package's modules.

    Args:
        package: its `__name__`.
        homes: name -> module that has it.
    """

    def get(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        module = f"{package}.{name}"
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise  # what it needs is not installed
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
