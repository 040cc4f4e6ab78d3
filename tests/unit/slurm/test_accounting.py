from pathlib import Path

import pytest

from slurm_restart.core.job import JobState
from slurm_restart.errors import JobNotFoundError, SlurmError
from slurm_restart.slurm.accounting import _FIELDS, accounted_end, parse_ends
from slurm_restart.slurm.client import CommandClient

ROW = ("12", "12", "train", "ann", "TIMEOUT", "0:15", "csx[1-2]", "/home/ann", "90")


def text(*rows: tuple[str, ...]) -> str:
    return "".join("|".join(row) + "\n" for row in rows)


def test_the_last_end_with_its_nodes_and_output() -> None:
    requeued = (*ROW[:4], "REQUEUED", *ROW[5:])
    running = (*ROW[:4], "RUNNING", *ROW[5:])
    [first, second] = parse_ends(text(requeued, ROW, running), 12, _FIELDS, "|")
    assert (second.state, second.exit_code, second.signal) == (JobState.TIMEOUT, 0, 15)
    assert second.nodes == ("csx1", "csx2")
    assert second.std_out == Path("/home/ann/slurm-12.out")
    assert second.seconds == 90
    assert first.state.value == "REQUEUED"


def test_the_name_of_the_output_where_the_database_has_it() -> None:
    row = (
        "14",
        "12_3",
        "train",
        "ann",
        "CANCELLED by 7",
        "0:0",
        "None assigned",
        "/w",
        "",
        "o-%A_%a",
    )
    [end] = parse_ends(text(row), 14, (*_FIELDS, "StdOut"), "|")
    assert (end.state, end.nodes) == (JobState.CANCELLED, ())
    assert end.std_out == Path("/w/o-12_3")
    assert end.seconds is None


def test_other_jobs_and_broken_lines_are_left_out() -> None:
    assert parse_ends("a|b\n" + text(("13", *ROW[1:])), 12, _FIELDS, "|") == []


def test_an_odd_exit_code_is_an_error() -> None:
    with pytest.raises(SlurmError, match="expected an exit code"):
        parse_ends(text((*ROW[:5], "x", *ROW[6:])), 12, _FIELDS, "|")


def fake(tmp_path: Path, output: str) -> CommandClient:
    sacct = tmp_path / "sacct"
    sacct.write_text(
        '#!/bin/sh\ncase "$*" in --helpformat) echo JobID WorkDir;; *)\n'
        f'for a in "$@"; do case $a in --delimiter=*) d=${{a#*=}};; esac; done\n{output};; esac\n'
    )
    sacct.chmod(0o755)
    return CommandClient(str(tmp_path), None, 30.0)


def test_sacct_is_asked_with_a_delimiter_that_nobody_knows(tmp_path: Path) -> None:
    printed = "echo '" + "|".join(ROW) + '\' | sed "s/|/$d/g"'
    assert accounted_end(12, fake(tmp_path, printed)).state is JobState.TIMEOUT


def test_no_record_is_an_unknown_job(tmp_path: Path) -> None:
    with pytest.raises(JobNotFoundError, match="no end of it is recorded"):
        accounted_end(12, fake(tmp_path, "true"))
