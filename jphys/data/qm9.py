"""QM9: stable structures and energies of small organic molecules (Ramakrishnan et al. 2014)."""

from pathlib import Path

from jphys.data.qm9_bonds import with_bonds
from jphys.data.qm9_npz import Records, read_npz, to_structures
from jphys.data.structures import Structures

SMALL = Path(__file__).with_name("qm9_small.npz")


def load_small() -> Structures:
    """The 3,921 characterised molecules of QM9 with at most 7 heavy atoms, which the package ships.

    Energies are U0 (B3LYP/6-31G(2df,p), zero-point energy included) in eV; bonds are kekulised; there are
    no forces, all structures are stable. Source: doi:10.1038/sdata.2014.22, licence CC0.
    """
    return to_structures(read_npz(SMALL))


def read(source=None, *, uncharacterized=None) -> Records:
    return read_npz(source)


__all__ = ["load_small", "read", "with_bonds"]
