"""QM9: stable structures and energies of 130,831 organic molecules (doi:10.1038/sdata.2014.22, CC0)."""

import hashlib
import logging
import os
from pathlib import Path
from typing import NamedTuple

from jphys.data import qm9_bonds
from jphys.data.download import download
from jphys.data.kept import cache_folder
from jphys.data.qm9_files import read_folder, read_tar, read_uncharacterized
from jphys.data.qm9_npz import N_MOLECULES, N_UNCHARACTERIZED, Records, read_npz, to_structures, write_npz
from jphys.data.structures import Structures

__all__ = ["SMALL", "load", "load_small", "read"]

N_CHARACTERIZED = N_MOLECULES - N_UNCHARACTERIZED
SMALL = Path(__file__).with_name("qm9_small.npz")
_log = logging.getLogger(__name__)


class Remote(NamedTuple):
    name: str
    url: str
    size: int  # bytes
    md5: str


# figshare collection 978904, doi:10.6084/m9.figshare.c.978904
_FIGSHARE = "https://ndownloader.figshare.com/files/"
TAR = Remote("dsgdb9nsd.xyz.tar.bz2", _FIGSHARE + "3195389", 86_144_227, "ad1ebd51ee7f5b3a6e32e974e5d54012")
UNCHARACTERIZED = Remote(
    "uncharacterized.txt", _FIGSHARE + "3195404", 486_752, "a361887bacb427b8a0ce7903d92a53b4"
)


def load_small() -> Structures:
    """The 3,921 characterised molecules of QM9 with at most 7 heavy atoms, which the package ships.

    Energies are U0 (B3LYP/6-31G(2df,p), zero-point energy included) in eV; bonds are kekulised; there are
    no forces, all structures are stable. Source: doi:10.1038/sdata.2014.22, licence CC0.
    """
    return to_structures(read_npz(SMALL))


def load(source=None, *, uncharacterized=None, cache_dir=None, with_bonds: bool = False) -> Structures:
    """The whole of QM9, without the molecules that failed its authors' consistency check.

    Energies are U0 (B3LYP/6-31G(2df,p), zero-point energy included) in eV; positions are rounded to 1e-5 Å;
    there are no forces. How many molecules were left out is logged, and is `read(...).n_uncharacterized`.

    Args:
        source: dsgdb9nsd.xyz.tar.bz2, a folder of dsgdb9nsd_*.xyz files, or an npz with the arrays of
            `jphys.data.qm9_npz`; None downloads the tar (86 MB).
        uncharacterized: uncharacterized.txt; None looks beside the tar, or in or beside the folder.
        cache_dir: where downloads and parsed data are kept; None is $JPHYS_CACHE or ~/.cache/jphys.
        with_bonds: perceive bonds too (half a minute for all); otherwise `n_bonds` is 0 throughout.

    Raises:
        ConnectionError: nothing cached and no network; says what to fetch, from where, for which argument.
        FileNotFoundError: source or uncharacterized.txt is not there.
        ValueError: a file is truncated, the wrong one, or damaged (names file and entry); what is parsed
            cannot be kept in cache_dir.
    """
    records = read(source, uncharacterized=uncharacterized, cache_dir=cache_dir)
    return to_structures(qm9_bonds.with_bonds(records) if with_bonds else records)


def read(source=None, *, uncharacterized=None, cache_dir=None) -> Records:
    """As `load`, but the records: with GDB9 numbers, SMILES and the number of molecules left out.

    Raises:
        ConnectionError, FileNotFoundError, ValueError: as `load`.
    """
    folder = cache_folder(cache_dir)
    records = _read_official(folder) if source is None else _read_local(Path(source), uncharacterized, folder)
    left_out = "unknown how many" if records.n_uncharacterized is None else records.n_uncharacterized
    _log.info("QM9: %d molecules; %s uncharacterised left out", len(records), left_out)
    return records


def _read_official(folder: Path) -> Records:
    cache = folder / "qm9.npz"
    if cache.is_file():
        return read_npz(cache)
    _check_writable(folder)
    try:
        tar, rejected = (
            download(remote.url, folder / remote.name, size=remote.size, md5=remote.md5)
            for remote in (TAR, UNCHARACTERIZED)
        )
    except ConnectionError as error:
        raise ConnectionError(
            f"QM9 could not be downloaded ({error}). Call again to resume, or fetch {TAR.url} as {TAR.name} "
            f"and {UNCHARACTERIZED.url} as {UNCHARACTERIZED.name} yourself and pass the path of "
            "the tar as source= (--source of train.py), with the list beside it (or in Python as "
            "uncharacterized=); the data qm9-small needs no network"
        ) from error
    records = read_tar(tar, read_uncharacterized(rejected))
    counts = (len(records), records.n_uncharacterized)
    if counts != (N_CHARACTERIZED, N_UNCHARACTERIZED):
        raise ValueError(
            f"{tar} must hold {N_CHARACTERIZED} characterised and {N_UNCHARACTERIZED} uncharacterised "
            f"molecules, got {counts[0]} and {counts[1]}"
        )
    return _kept(cache, records)


def _read_local(source: Path, uncharacterized, folder: Path) -> Records:
    if not source.exists():
        raise FileNotFoundError(f"source must be a tar.bz2, folder or npz of QM9, {source} does not exist")
    if source.suffix == ".npz":
        return read_npz(source)
    rejected = _find_uncharacterized(source, uncharacterized)
    cache = folder / f"qm9-{_fingerprint(source, rejected)}.npz"
    if cache.is_file():
        return read_npz(cache)
    _check_writable(folder)
    records = (read_folder if source.is_dir() else read_tar)(source, read_uncharacterized(rejected))
    return _kept(cache, records)


def _check_writable(folder: Path) -> None:
    """Before the minutes of parsing."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"cache_dir (or $JPHYS_CACHE) must be a folder that can be written, got {folder}: {there} is none"
        )


def _kept(cache: Path, records: Records) -> Records:
    try:
        write_npz(cache, records)
    except OSError as error:  # a full disk: the records are right all the same
        _log.warning("%s could not be written, QM9 will be read again next time: %s", cache, error)
    return records


def _find_uncharacterized(source: Path, given) -> Path:
    beside = [source.parent / UNCHARACTERIZED.name]
    places = (
        [Path(given)] if given else [source / UNCHARACTERIZED.name, *beside] if source.is_dir() else beside
    )
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"{UNCHARACTERIZED.name}, the list of molecules that failed the authors' check, must be given too: "
        f"looked for {' and '.join(map(str, places))}; fetch it from {UNCHARACTERIZED.url} "
        "and put it beside the tar or in the folder, or in Python pass its path as uncharacterized="
    )


def _fingerprint(source: Path, rejected: Path) -> str:
    """Changes when a file of the source does: names, sizes and times of all of them."""
    files = [*(sorted(source.glob("dsgdb9nsd_*.xyz")) if source.is_dir() else [source]), rejected]
    facts = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
