import json

import pytest

from slurm_restart.trainer import attempt_records, rundir
from slurm_restart.trainer.attempt_records import (
    AttemptEnd,
    AttemptStart,
    RootCauseLine,
    Saved,
    to_json,
    to_line,
)
from slurm_restart.trainer.rundir import RunDir

START = AttemptStart(
    attempt=0,
    at=1.5,
    job_id=7,
    restarts=0,
    nodes=("csx1", "csx2"),
    num_csx=2,
    checkpoint=None,
    from_step=0,
    resumed=False,
    first_step=0,
    last_step=None,
    before={"checkpoint_1.mdl": (2, 3)},
)
END = AttemptEnd(
    attempt=0,
    at=2.5,
    category="unknown",
    rule="exit.nonzero",
    reason="unknown",
    exit_code=1,
    root_cause=RootCauseLine(line=3, text="x"),
)


def test_attempts_have_consecutive_numbers(tmp_path):
    run = RunDir(tmp_path)
    assert run.attempts() == ()
    assert [run.new_attempt().number for _ in range(3)] == [0, 1, 2]
    (tmp_path / "attempts" / "10").mkdir()
    for other in ("007", "x", "-1", "٣", "1.bak"):
        (tmp_path / "attempts" / other).mkdir()
    assert [item.number for item in run.attempts()] == [0, 1, 2, 10]
    assert run.new_attempt().number == 11


def test_an_attempt_that_another_process_takes_meanwhile(tmp_path, monkeypatch):
    run = RunDir(tmp_path)
    run.new_attempt()
    monkeypatch.setattr(rundir, "_numbers", lambda _: [])
    assert run.new_attempt().number == 1


@pytest.mark.parametrize("there", [True, False])
def test_no_attempt_is_made_through_a_symbolic_link(tmp_path, there):
    elsewhere = tmp_path / "elsewhere"
    if there:
        (elsewhere / "3").mkdir(parents=True)
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    (run.path / "attempts").symlink_to(elsewhere)
    for call in (run.new_attempt, run.attempts):
        with pytest.raises(OSError, match="expected a directory, no link"):
            call()
    assert sorted(tmp_path.rglob("*")) == sorted(
        [elsewhere, elsewhere / "3", run.path, run.path / "attempts"]
        if there
        else [run.path, run.path / "attempts"]
    )


def test_records_are_read_as_written(tmp_path):
    attempt = RunDir(tmp_path).new_attempt()
    assert attempt.start() is None
    attempt.start_file.write_bytes(to_json(START))
    attempt.end_file.write_bytes(to_json(END))
    assert (attempt.start(), attempt.end()) == (START, END)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data | {"attempt": "0"},
        lambda data: data | {"attempt": True},
        lambda data: data | {"nodes": "csx1"},
        lambda data: data | {"before": {"a": ["x"]}},
        lambda data: data | {"before": []},
        lambda data: {key: value for key, value in data.items() if key != "at"},
        lambda data: [data],
        lambda _: None,
    ],
)
def test_a_damaged_record_is_none(tmp_path, change):
    attempt = RunDir(tmp_path).new_attempt()
    attempt.start_file.write_text(json.dumps(change(json.loads(to_json(START)))))
    assert attempt.start() is None
    attempt.start_file.write_bytes(b'{"attempt": \xff')
    assert attempt.start() is None


def test_fields_of_another_release_are_ignored(tmp_path):
    attempt = RunDir(tmp_path).new_attempt()
    data = json.loads(to_json(START)) | {"new": 1, "at": 2}
    attempt.start_file.write_text(json.dumps(data))
    start = attempt.start()
    assert start is not None
    assert start.at == 2.0


def test_a_damaged_line_does_not_affect_others(tmp_path):
    attempt = RunDir(tmp_path).new_attempt()
    assert attempt.saved() == ()
    saved = [Saved(at=1.0, step=step, path=f"/m/{step}") for step in (10, 20)]
    lines = [to_line(saved[0]), '{"at": 1.0, "st', "[]", to_line(saved[1])]
    attempt.progress_file.write_text("\n".join(lines))
    assert attempt.saved() == tuple(saved)


def test_of_too_many_lines_the_newest_are_read(tmp_path, monkeypatch):
    attempt = RunDir(tmp_path).new_attempt()
    lines = [json.dumps({"at": 1, "step": step, "path": f"/c/{step}"}) for step in range(10, 60)]
    attempt.progress_file.write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(attempt_records, "MAX_BYTES", 3 * len(lines[0]) + 10)
    assert [saved.step for saved in attempt.saved()] == [57, 58, 59]
    [problem] = attempt.problems()
    expected = f"progress.jsonl: only the last {3 * len(lines[0]) + 3} bytes are read"
    assert str(problem).endswith(expected)
