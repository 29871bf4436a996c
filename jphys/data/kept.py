"""Large arrays in a folder, written piece by piece and read as they lie there, without a copy in memory."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

__all__ = ["Writer", "read"]

INDEX = "arrays.json"


class Writer:
    """Appends trees of arrays, all of one structure, leaf by leaf along their first axis.

    The folder is there whole or not at all: it gets its name where the `with` ends without an error.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._place = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        self._files = contextlib.ExitStack()
        self._leaves: list[dict[str, Any]] = []

    def __enter__(self) -> "Writer":
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True)
        return self

    def add(self, tree: Any) -> None:
        """Append the leaves of a tree."""
        leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(tree)]
        if not self._leaves:
            for number, leaf in enumerate(leaves):
                file = self._files.enter_context((self._place / _name(number)).open("wb"))
                row = {"dtype": leaf.dtype.str, "shape": list(leaf.shape[1:])}
                self._leaves.append({"file": file, "row": row, "rows": 0})
        for leaf, kept in zip(leaves, self._leaves, strict=True):
            kept["file"].write(leaf.tobytes())
            kept["rows"] += len(leaf)

    def __exit__(self, kind, error, trace) -> None:
        self._files.close()
        if kind is None:
            index = [{"rows": leaf["rows"], **leaf["row"]} for leaf in self._leaves]
            (self._place / INDEX).write_text(json.dumps(index))
            with contextlib.suppress(FileExistsError, OSError):  # another process was first
                os.rename(self._place, self.folder)
        shutil.rmtree(self._place, ignore_errors=True)


def read(folder: Path) -> list[np.ndarray]:
    """The leaves, in the order of the tree: maps of the files, which are read where they are used."""
    found = []
    for number, leaf in enumerate(json.loads((folder / INDEX).read_text())):
        shape = (leaf["rows"], *leaf["shape"])
        if 0 in shape:
            found.append(np.zeros(shape, leaf["dtype"]))
        else:
            found.append(np.memmap(folder / _name(number), leaf["dtype"], "r", shape=shape))
    return found


def _name(number: int) -> str:
    return f"{number:02d}.bin"
