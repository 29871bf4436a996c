"""Download one file: resumed where it stopped, checked by size and MD5, there whole or not at all."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

BLOCK = 1 << 18  # bytes
TIMEOUT = 30.0  # s without an answer
ATTEMPTS = 5  # connections in a row that bring nothing new


def md5_of(path) -> str:
    """MD5 of a file as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def download(url: str, path, *, size: int, md5: str) -> Path:
    """Fetch `url` into `path`, with a progress bar; a file already there and right is not fetched again.

    Bytes go to `path` + ".part", which a later call continues with an HTTP range request; only a file
    with the right size and MD5 gets its final name.

    Raises:
        ConnectionError: the server cannot be reached or keeps breaking off; what came is kept in ".part".
        ValueError: the file has another size or MD5 than asked for; it is removed.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size == size and md5_of(path) == md5:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    _receive_all(url, part, size)
    _check(part, url, size, md5)
    os.replace(part, path)
    return path


def _receive_all(url: str, part: Path, size: int) -> None:
    barren = 0
    while (before := _size(part)) < size:
        problem: Exception | None = None
        try:
            _receive(url, part, before, size)
        except (OSError, http.client.HTTPException) as error:
            problem = error
            if isinstance(error, urllib.error.HTTPError):
                error.close()
        barren = 0 if _size(part) > before else barren + 1
        if _size(part) < size and (isinstance(problem, urllib.error.HTTPError) or barren == ATTEMPTS):
            raise ConnectionError(
                f"{url} could not be read beyond byte {_size(part):,} of {size:,}: "
                f"{problem or 'the server sends nothing'}"
            ) from problem


def _receive(url: str, part: Path, start: int, size: int) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "jphys", "Range": f"bytes={start}-"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed, length = answer.status == 206, answer.headers.get("Content-Length")
        if not resumed and (answer.status != 200 or (length is not None and int(length) != size)):
            raise OSError(f"the server answered with status {answer.status} and {length} bytes")
        with (
            part.open("ab" if resumed else "wb") as file,  # a server without ranges starts again at 0
            tqdm(
                total=size,
                initial=start if resumed else 0,
                unit="B",
                unit_scale=True,
                desc=part.name.removesuffix(".part"),
            ) as bar,
        ):
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(part: Path, url: str, size: int, md5: str) -> None:
    got = (_size(part), md5_of(part))
    if got != (size, md5):
        part.unlink()
        raise ValueError(
            f"{url} must give {size:,} bytes with MD5 {md5}, got {got[0]:,} bytes with MD5 {got[1]}"
        )
