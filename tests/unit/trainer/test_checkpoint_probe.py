import json
import os
import subprocess
import sys

import h5py
import pytest

from slurm_restart.trainer.checkpoint_probe import Soundness, from_json, probe, probe_all, to_json


def entry(name: str, **values: object) -> str:
    """A step's metadata, as the Model Zoo stores it."""
    return json.dumps({"__objects__": [name], f"{name}.__metadata__": values})


def write(path, attrs, *, success=True):
    with h5py.File(path, "w") as file:
        file["weight"] = list(range(2000))
        for name, value in attrs.items():
            file.attrs[f"{name}.__metadata__"] = value
        if success is not None:
            file.attrs["__SUCCESS__"] = success
    return path


SCALAR = {"global_step": entry("global_step", scalar_value=40)}


@pytest.mark.parametrize(
    ("attrs", "step"),
    [
        (SCALAR, 40),
        # Equal values are stored once: the step may be a link to an optimizer's own counter.
        (
            {
                "global_step": entry("global_step", key="optimizer.params.6", __LINKED__=True),
                "optimizer.params.6": entry("optimizer.params.6", scalar_value=20),
            },
            20,
        ),
        ({"global_step": entry("global_step", key="global_step", __LINKED__=True)}, None),
        ({"global_step": entry("global_step", key="nowhere", __LINKED__=True)}, None),
        ({"global_step": entry("global_step", scalar_value="x")}, None),
        ({"global_step": "40"}, None),
        ({"global_step": json.dumps({"global_step.__metadata__": 40})}, None),
        ({}, None),
    ],
)
def test_the_step_of_a_complete_checkpoint(tmp_path, attrs, step):
    result = probe(str(write(tmp_path / "a.mdl", attrs)))
    assert (result.soundness, result.step) == (Soundness.COMPLETE, step)


@pytest.mark.parametrize("success", [None, False])
def test_an_incomplete_checkpoint_is_broken(tmp_path, success):
    result = probe(str(write(tmp_path / "a.mdl", SCALAR, success=success)))
    assert result.soundness is Soundness.BROKEN
    assert "__SUCCESS__" in result.reason


@pytest.mark.parametrize("size", [0, 1, 100, 0.3, 0.9, -1])
def test_a_truncated_checkpoint_is_broken(tmp_path, size):
    path = write(tmp_path / "a.mdl", SCALAR)
    whole = path.stat().st_size
    os.truncate(
        path, size if size >= 1 or size == 0 else whole - 1 if size < 0 else int(whole * size)
    )
    result = probe(str(path))
    assert result.soundness is Soundness.BROKEN
    assert "\n" not in result.reason


def test_a_text_file_is_broken_and_a_missing_file_unreadable(tmp_path):
    (tmp_path / "text.mdl").write_text("not HDF5\n" * 1000)
    assert probe(str(tmp_path / "text.mdl")).soundness is Soundness.BROKEN
    assert probe(str(tmp_path / "absent.mdl")).soundness is Soundness.UNREADABLE
    assert probe(str(tmp_path)).soundness is Soundness.UNREADABLE


def test_metadata_that_is_no_json_is_broken(tmp_path):
    path = write(tmp_path / "a.mdl", {"global_step": "{"})
    assert probe(str(path)).soundness is Soundness.BROKEN


def test_the_search_stops_at_the_first_complete_checkpoint(tmp_path):
    bad = str(write(tmp_path / "bad.mdl", SCALAR, success=False))
    good = str(write(tmp_path / "good.mdl", SCALAR))
    assert [item.path for item in probe_all([bad, good, bad], first=True)] == [bad, good]
    assert len(list(probe_all([bad, good, bad], first=False))) == 3


def test_the_program_prints_a_line_for_each_path(tmp_path):
    good = str(write(tmp_path / "good \n.mdl", SCALAR))
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-m",
            "slurm_restart.trainer.checkpoint_probe",
            "--first",
            "mdl",
            "/x",
            good,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    results = [from_json(line) for line in done.stdout.splitlines()]
    assert [item.soundness for item in results] == [Soundness.UNREADABLE, Soundness.COMPLETE]
    assert results[1] == from_json(to_json(probe(good)))
