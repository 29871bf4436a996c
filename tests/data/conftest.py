"""The official format of QM9, built from real molecules."""

import tarfile
from pathlib import Path

import pytest

# Molecules 1 and 3 as distributed (doi:10.1038/sdata.2014.22), one coordinate of each written with the
# Fortran exponent that other files of the distribution have.
METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t-40.476062\t-40.475117\t-40.498597\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-6.0313176*^-3\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""  # noqa: E501
WATER = """3
gdb 3\t799.58812\t437.90386\t282.94545\t1.8511\t6.31\t-0.2928\t0.0687\t0.3615\t19.0002\t0.021375\t-76.404702\t-76.401867\t-76.400922\t-76.422349\t6.002\t
O\t-0.0343604951\t 0.9775395708\t 0.0076015923\t-0.589706
H\t 0.0647664923\t 0.0205721989\t 1.5346341*^-3\t 0.294853
H\t 0.8717903737\t 1.3007924048\t 0.0006931336\t 0.294853
1671.4222\t3803.6305\t3907.698
O\tO\t
InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2
"""  # noqa: E501
# GDB9 number 21 stands in the official list of rejected molecules; here any third molecule will do.
REJECTED = WATER.replace("gdb 3\t", "gdb 21\t")
UNCHARACTERIZED = """List of molecules that failed the consistency check
====================================
Index   GDB-17   B3LYP   Corina
====================================
    21  C(C#N)=O  C(C#N)=O  CC
====================================
"""


@pytest.fixture
def files() -> dict[str, str]:
    return {
        "dsgdb9nsd_000001.xyz": METHANE,
        "dsgdb9nsd_000003.xyz": WATER,
        "dsgdb9nsd_000021.xyz": REJECTED,
    }


@pytest.fixture
def make_folder(tmp_path, files):
    """A function that writes the files, changed as asked, and the list of rejected molecules."""

    def make(uncharacterized: bool = True, **changed: str) -> Path:
        folder = tmp_path / "qm9"
        folder.mkdir()
        for name, text in (files | {f"{key}.xyz": value for key, value in changed.items()}).items():
            (folder / name).write_text(text)
        if uncharacterized:
            (tmp_path / "uncharacterized.txt").write_text(UNCHARACTERIZED)
        return folder

    return make


@pytest.fixture
def make_tar(tmp_path, make_folder):
    """As `make_folder`, but the tar.bz2 of it."""

    def make(uncharacterized: bool = True, **changed: str) -> Path:
        folder, path = make_folder(uncharacterized, **changed), tmp_path / "dsgdb9nsd.xyz.tar.bz2"
        with tarfile.open(path, "w:bz2") as archive:
            for file in sorted(folder.iterdir()):
                archive.add(file, arcname=file.name)
        return path

    return make
