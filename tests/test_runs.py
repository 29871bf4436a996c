"""Run folders: what a run is, and what it learns from, do not change under it."""

import dataclasses
import os

import numpy as np
import pytest

from jphys import runs
from jphys.data.qm9 import load_small
from jphys.data.structures import fingerprint, take
from jphys.training.config import ReportConfig
from jphys.training.parts import split_data


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
    labelled = [dataclasses.replace(three, forces=np.full_like(three.positions, f)) for f in (0.1, 0.7)]
    assert len({fingerprint(one) for one in (three, *labelled)}) == 3


def test_a_folder_is_checked_before_anything_is_written(tmp_path):
    config, folder = ReportConfig(), tmp_path / "run"
    runs.check(folder, config, resume=False)
    assert not folder.exists()
    runs.start(folder, config, resume=False)
    with pytest.raises(ValueError, match="give --resume to continue it"):
        runs.check(folder, config, resume=False)
    other = dataclasses.replace(config, molecules=7)
    with pytest.raises(ValueError, match="got other values for molecules"):
        runs.check(folder, other, resume=True)
    runs.check(folder, other, resume=True, free=("molecules",))


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_other_files_is_not_taken_for_a_run(tmp_path, resume):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"run must be a new folder or hold a run, got .* with other files"):
        runs.start(tmp_path, ReportConfig(), resume=resume)
    (tmp_path / "empty").mkdir()
    runs.start(tmp_path / "empty", ReportConfig(), resume=resume)
    with pytest.raises(ValueError, match=r"run must be a folder that can be made, got .*thesis"):
        runs.start(tmp_path / "thesis.tex" / "run", ReportConfig(), resume=resume)


def test_damaged_files_of_a_run_are_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json must be JSON, it is not"):
        runs.check(tmp_path, ReportConfig(), resume=True)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json must be a JSON object, got list"):
        runs.check(tmp_path, ReportConfig(), resume=True)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n{"cut sho')
    with pytest.raises(ValueError, match=r"line 2 of .*metrics\.jsonl must be JSON"):
        runs.read_metrics(tmp_path)


def test_every_part_of_the_data_is_kept(tmp_path):
    """And a run of an older jphys, which knew the training part alone, goes on."""
    data = split_data(load_small(), seed=0)
    runs.keep_data(tmp_path, {"sha256": data.fingerprints()["sha256"]})
    runs.keep_data(tmp_path, data.fingerprints())
    for part in ("valid", "test"):
        changed = dataclasses.replace(data, **{part: data.train})
        with pytest.raises(ValueError, match=f"got others: sha256_{part}$"):
            runs.keep_data(tmp_path, changed.fingerprints())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds a process to cores")
def test_the_record_counts_the_cores_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert runs.environment()["cpu_count"] == 1
    finally:
        os.sched_setaffinity(0, before)
    assert runs.environment()["cpu_count"] == len(before)
