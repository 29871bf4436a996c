"""Frames on disk as they come, and the checkpoint to go on from; a kill at any moment loses neither."""

import io
import json
import os
from pathlib import Path
from typing import Any

import ase
import ase.io
import jax
import jax.numpy as jnp
import numpy as np


class Trajectory:
    """An extxyz file and its checkpoint `<file>.checkpoint.npz`.

    The checkpoint knows how long the file was when it was written: what a killed run wrote after it is cut
    off when the run goes on, and comes again.

    Raises:
        ValueError: for a file that exists where none is to be continued, or the other way round.
    """

    def __init__(self, file: Path, resume: bool, identity: dict[str, Any]):
        self.identity = json.loads(json.dumps(identity))
        self.file, self.stored = file, file.with_name(file.name + ".checkpoint.npz")
        if file.suffix != ".extxyz":
            raise ValueError(f"trajectory must end in .extxyz, got {file}")
        for needed in (self.stored, file):
            if resume and not needed.exists():
                raise ValueError(f"resume needs the file {needed}, which does not exist")
        if not resume and file.exists():
            raise ValueError(f"trajectory must not exist yet unless resume is set, got {file}")
        self.resume = resume
        file.parent.mkdir(parents=True, exist_ok=True)

    def write(self, atoms: ase.Atoms, state, step: int) -> None:
        """Append a frame, then replace the checkpoint.

        The file gets its name after the first checkpoint: where it exists, the run can be continued.
        """
        text = io.StringIO()
        ase.io.write(text, atoms, format="extxyz")
        begun = self.file.exists()
        file = self.file if begun else self.file.with_name(self.file.name + ".new")
        with file.open("a" if begun else "w") as out:
            out.write(text.getvalue())
            out.flush()
            os.fsync(out.fileno())
            length = out.tell()
        self._store(state, step, length)
        if not begun:
            os.replace(file, self.file)

    def _store(self, state, step: int, length: int) -> None:
        """Replace the checkpoint."""
        leaves = {f"leaf{number:04d}": _plain(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
        record = json.dumps({"step": step, "length": length, "identity": self.identity})
        fresh = self.stored.with_name(self.stored.name + ".new")
        with fresh.open("wb") as out:
            np.savez(out, record=np.array(record), **leaves)  # pyright: ignore[reportArgumentType]
            out.flush()
            os.fsync(out.fileno())
        os.replace(fresh, self.stored)

    def restore(self, state, columns: tuple[str, ...]) -> tuple[Any, int, list[dict[str, float]]]:
        """State of the checkpoint in the shape of the given one, its step and the frames' rows up to it.

        Raises:
            ValueError: if the checkpoint is of another system or ensemble.
        """
        with np.load(self.stored) as stored:
            record = json.loads(str(stored["record"]))
            found = [stored[name] for name in sorted(stored.files) if name != "record"]
        theirs = record["identity"]
        differing = [name for name in self.identity | theirs if theirs.get(name) != self.identity.get(name)]
        if differing:
            names = ", ".join(differing)
            raise ValueError(f"resume needs a checkpoint with the same {names}, got another in {self.stored}")
        if self.file.stat().st_size < record["length"]:
            raise ValueError(f"trajectory must be as long as its checkpoint says, got a shorter {self.file}")
        leaves, structure = jax.tree.flatten(state)
        shapes = [np.shape(_plain(leaf)) for leaf in leaves]
        if [np.shape(leaf) for leaf in found] != shapes:
            raise ValueError(
                f"resume needs the checkpoint of the same system and ensemble, got {self.stored}"
            )
        with self.file.open("r+b") as out:
            out.truncate(record["length"])
        restored = [_like(new, old) for new, old in zip(found, leaves)]
        infos = [atoms.info for atoms in ase.io.iread(self.file, format="extxyz")]
        rows = [{name: float(info.get(name, np.nan)) for name in columns} for info in infos]
        return jax.tree.unflatten(structure, restored), record["step"], rows


def _is_key(leaf) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _like(found: np.ndarray, leaf):
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(found))
    return jnp.asarray(found, jnp.asarray(leaf).dtype)
