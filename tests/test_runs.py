"""Run folders: what a run is, and what it learns from, do not change under it."""

import pytest

from jphys import runs
from jphys.data.qm9 import load_small
from jphys.data.structures import fingerprint, take


def test_a_run_goes_on_with_the_same_data_alone(tmp_path):
    data = {"engine": "emt", "settings": {"method": "effective medium theory"}, "sha256": "1"}
    runs.keep_data(tmp_path, data)
    runs.keep_data(tmp_path, data)
    with pytest.raises(ValueError, match=r"resume must keep the data of .*, got others: sha256"):
        runs.keep_data(tmp_path, data | {"sha256": "2"})
    with pytest.raises(ValueError, match=r"got others: engine, settings\.method"):
        runs.keep_data(tmp_path, data | {"engine": "gpaw", "settings": {"method": "PBE"}})


def test_the_fingerprint_sees_every_bit():
    three = take(load_small(), [0, 5, 9])
    again = take(load_small(), [0, 5, 9])
    assert fingerprint(three) == fingerprint(again) != fingerprint(take(three, [0, 2, 1]))
    again.energy[1] += 1e-9
    assert fingerprint(three) != fingerprint(again)
