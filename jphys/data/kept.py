"""Large arrays in a folder, written piece by piece, of which rows are read."""

import contextlib
import json
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import jax
import numpy as np

__all__ = ["OnDisk", "Writer", "cache_folder", "read"]

INDEX = "arrays.json"


def cache_folder(cache_dir=None) -> Path:
    """Where what is downloaded or made once lies: the argument, else $JPHYS_CACHE, else ~/.cache/jphys."""
    return Path(cache_dir or os.environ.get("JPHYS_CACHE") or "~/.cache/jphys").expanduser()


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
        """Append the leaves of a tree.

        Raises:
            ValueError: for leaves of another type or row shape than those before.
        """
        leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(tree)]
        kinds = [{"dtype": leaf.dtype.str, "shape": list(leaf.shape[1:])} for leaf in leaves]
        if not self._leaves:
            for number, row in enumerate(kinds):
                file = self._files.enter_context((self._place / _name(number)).open("wb"))
                self._leaves.append({"file": file, "row": row, "rows": 0})
        for leaf, row, kept in zip(leaves, kinds, self._leaves, strict=True):
            if row != kept["row"]:
                raise ValueError(f"leaves must be those of the first tree, {kept['row']}, got {row}")
            kept["file"].write(leaf.tobytes())
            kept["rows"] += len(leaf)

    def __exit__(self, kind, error, trace) -> None:
        self._files.close()
        if kind is None:
            index = [{"rows": leaf["rows"], **leaf["row"]} for leaf in self._leaves]
            (self._place / INDEX).write_text(json.dumps(index))
            try:
                os.rename(self._place, self.folder)
            except OSError:
                if not self.folder.exists():  # otherwise another process was first
                    raise
        shutil.rmtree(self._place, ignore_errors=True)


class OnDisk:
    """An array in a file: the rows of a slice are read when they are asked for, a map of all by `np.asarray`.

    Rows are not taken from a map: what was read once would count as memory of the process.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]):
        self.path, self.dtype, self.shape = path, np.dtype(dtype), shape
        self._bytes = self.dtype.itemsize * int(np.prod(shape[1:]))  # of a row
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        count = max(stop - start, 0)
        found = os.pread(self._file, count * self._bytes, start * self._bytes)
        return np.frombuffer(found, self.dtype).reshape(count, *self.shape[1:])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if 0 in self.shape:
            whole = np.zeros(self.shape, self.dtype)
        else:  # a map of the file, which XLA takes as it is on a CPU
            whole = np.asarray(np.memmap(self.path, self.dtype, "r", shape=self.shape))
        return whole.astype(dtype or self.dtype, copy=bool(copy))


def read(folder: Path) -> list[OnDisk]:
    """The leaves, in the order of the tree."""
    index = json.loads((folder / INDEX).read_text())
    return [
        OnDisk(folder / _name(number), leaf["dtype"], (leaf["rows"], *leaf["shape"]))
        for number, leaf in enumerate(index)
    ]


def _name(number: int) -> str:
    return f"{number:02d}.bin"
