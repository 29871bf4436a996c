"""QM9 as an npz file, of any part of the set: what is in it, and what cannot be."""

import logging

import numpy as np
import pytest

from jphys.data import qm9, qm9_npz

BASE = {
    "index": np.array([11, 12]),
    "n_atoms": np.array([1, 2]),
    "z": np.array([1, 1, 1]),
    "pos": np.array([[0, 0, 0], [0, 0, 0], [0, 0, 74000]], np.int32),
    "pos_scale": np.float64(1e-5),
    "u0_hartree": np.array([-0.5, -1.2]),
}
NPZ = {
    "no molecule": (
        {key: value[:0] for key, value in BASE.items() if key != "pos_scale"},
        " must hold at least one molecule",
    ),
    "a number for index": ({"index": np.array(11)}, " must hold at least one molecule"),
    "negative number of atoms": ({"n_atoms": np.array([-1, 4])}, "at least 1, got -1 in molecule 11"),
    "no atoms": ({"n_atoms": np.array([3, 0])}, "n_atoms must be at least 1, got 0 in molecule 12"),
    "half an atom": ({"n_atoms": np.array([1.5, 1.5])}, "n_atoms must hold whole numbers, got float64"),
    "symbols": ({"z": np.array(["H", "H", "H"])}, "z must hold whole numbers"),
    "NaN scale": ({"pos_scale": np.float64("nan")}, "pos_scale must be positive and finite, got nan"),
    "infinite scale": ({"pos_scale": np.float64("inf")}, "pos_scale must be positive and finite, got inf"),
    "no scale": ({"pos_scale": np.float64(0)}, "pos_scale must be positive and finite, got 0.0"),
    "negative scale": ({"pos_scale": np.float64(-1e-5)}, "pos_scale must be positive and finite"),
    "huge": ({"pos": BASE["pos"] * 1e300}, "within 21474 Å of the origin, .* in molecule 12"),
    "beyond int32": ({"pos_scale": np.float64(1.0)}, "within 21474 Å of the origin, .* in molecule 12"),
    "one spot": (
        {"pos": BASE["pos"] // 1000},
        "molecule 12: atoms must be 0.001 Å apart or more, got 0.00074 Å between atoms 0 and 1",
    ),
}


@pytest.mark.parametrize("case", NPZ)
def test_impossible_npz_names_file_and_molecule(case, tmp_path):
    changed, message = NPZ[case]
    np.savez(tmp_path / "odd.npz", **(BASE | changed))
    with pytest.raises(ValueError, match=rf"odd\.npz.*{message}"):
        qm9.load(tmp_path / "odd.npz")


def test_scale_of_an_npz_is_its_own(tmp_path):
    np.savez(tmp_path / "mine.npz", **(BASE | {"pos": BASE["pos"] * 1e-5, "pos_scale": np.float64(1.0)}))
    np.testing.assert_allclose(qm9.load(tmp_path / "mine.npz").positions[2], [0, 0, 0.74], atol=1e-12)


@pytest.mark.parametrize(("known", "said"), [({}, "unknown how many"), ({"n_uncharacterized": 7}, "7")])
def test_part_of_qm9_does_not_count_what_it_cannot_know(known, said, tmp_path, caplog):
    np.savez(tmp_path / "last.npz", **(BASE | known))
    with caplog.at_level(logging.INFO, logger="jphys"):
        records = qm9.read(tmp_path / "last.npz")
    assert f"QM9: 2 molecules; {said} uncharacterised left out" in caplog.text
    qm9_npz.write_npz(tmp_path / "again.npz", records)
    again = qm9_npz.read_npz(tmp_path / "again.npz").n_uncharacterized
    assert again == records.n_uncharacterized == known.get("n_uncharacterized")


def test_wrong_npz_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz must hold the arrays index, .* misses index"):
        qm9.load(tmp_path / "other.npz")
    (tmp_path / "half.npz").write_bytes(qm9.SMALL.read_bytes()[:200_000])
    with pytest.raises(ValueError, match=r"half\.npz must be a complete npz file"):
        qm9.load(tmp_path / "half.npz")
    with np.load(qm9.SMALL) as archive:
        arrays = dict(archive)
    arrays["pos"] = arrays["pos"] * 1.0
    arrays["pos"][7, 2] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(ValueError, match=r"nan\.npz: positions must be finite.* in molecule 2"):
        qm9.load(tmp_path / "nan.npz")
