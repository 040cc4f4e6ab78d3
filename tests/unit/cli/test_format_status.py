"""The text of `csx-restart status`, at several widths, and `--watch`."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from slurm_restart.cli import status as status_module
from slurm_restart.cli.format_status import bar, format_status
from slurm_restart.cli.run_status import RunPhase, RunStatus, StatusCompile, StatusExclusion
from slurm_restart.errors import SlurmUnavailableError

STATUS = RunStatus(
    job_id=4711,
    run="0123456789abcdef",
    run_dir="/home/alice/a-long-name-of-a-project/model_dir/20261129_120000_restartable",
    source="/var/lib/slurm_restart/journal/c/4711.jsonl",
    state="RUNNING",
    slurm_answers=True,
    reason="None",
    phase=0,
    phases=2,
    other_phases=(RunPhase(phase=1, job_id=4712, state="PENDING", reason="Dependency"),),
    attempt=2,
    step=1200,
    first_step=0,
    last_step=5000,
    unit="step",
    restarts=2,
    in_place=0,
    failures=1,
    max_num_restarts=3,
    nodes=("csx1", "csx2"),
    excluded=("csx3",),
    exclusions=(StatusExclusion(node="csx3", since=0, until=86400, evidence="Slurm: DOWN dead"),),
    compiles=(),
    begins=None,
    next="if it fails, it is restarted: 2 more in a row without progress; its time limit",
    next_at=172800,
    time_limit=90000,
    time_left=3600,
    admin_comment="csx-restart: failures=1/3 total=2 step=1200 | restart after step 1200",
    comment_record=None,
    to_stop=None,
    to_resume=None,
    observed=False,
    backend="commands",
    summary={
        "runs": [
            {
                "status": "failed",
                "starting_step": 0,
                "ending_step": 20,
                "failure_reason": "srun: error: csx3: task 2: Killed \x1b[2J",
            }
        ]
    },
    warnings=("no checkpoint was seen",),
    problems=("end.json: damaged",),
)


@pytest.mark.parametrize(
    ("step", "first", "last", "shown"),
    [
        (0, 0, 100, "[--------------------] 0 %"),
        (25, 0, 100, "[#####---------------] 25 %"),
        (99, None, 100, "[###################-] 99 %"),
        (100, 0, 100, "[####################] 100 %"),
        (150, 100, 200, "[##########----------] 50 %"),
        (900, 0, 100, "[####################] 100 %"),
        (5, 100, 100, "[####################] 100 %"),
        (5, 50, 100, "[--------------------] 0 %"),
    ],
)
def test_the_bar(step, first, last, shown):
    assert bar(step, first, last) == shown


@pytest.mark.parametrize("width", [60, 80, 200, None])
def test_a_status_fits_and_breaks_no_word(monkeypatch, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    whole = format_status(STATUS)
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
    text = format_status(STATUS)
    assert text.split() == whole.split()
    path = str(STATUS.run_dir)
    assert all(len(line) <= (width or 999) or path in line for line in text.splitlines())
    assert "\x1b" not in text


def test_what_is_shown(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    lines = {line[:16].strip(): line[17:] for line in format_status(STATUS).splitlines()}
    assert lines["step"] == "1200 of 5000  [####----------------] 24 %"
    assert lines["restarts"] == "2; 1 of 3 without progress"
    in_place = format_status(replace(STATUS, in_place=1))
    assert "2, 1 of them in place; 1 of 3 without progress" in in_place
    assert lines["phase"] == "1 of 2"
    assert lines["phase 2"] == "job 4712: PENDING, Dependency"
    assert lines["time left"] == "1:00:00 of 1-1:00:00"
    assert lines["next"].startswith(f"{STATUS.next}: 1970-01-0")
    assert lines["not used"].startswith("csx3 until 1970-01-0")


def test_what_is_not_known_is_left_out(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    gone = replace(STATUS, state=None, step=None, restarts=None, time_left=None, phase=None)
    text = format_status(gone)
    assert text.startswith("job 4711: not known to Slurm any more\n")
    left_out = ("step", "restarts", "time left", "phase")
    assert not any(f"\n  {name:<14} " in text for name in left_out)


def watch(monkeypatch, *found) -> str:
    answers = iter(found)

    def answer(*_: object) -> RunStatus:
        answered = next(answers)
        if isinstance(answered, Exception):
            raise answered
        return answered

    monkeypatch.setattr(status_module, "resolve_known", lambda *_: (None, None))
    monkeypatch.setattr(status_module, "run_status", answer)
    monkeypatch.setattr(status_module, "array_tasks", lambda _: [])
    monkeypatch.setattr("time.sleep", lambda _: None)
    done = CliRunner().invoke(status_module.command, ["4711", "--watch"], catch_exceptions=False)
    assert done.exit_code == 0
    assert next(answers, None) is None
    return done.output


def test_watch_shows_a_run_until_it_has_ended(monkeypatch):
    text = watch(
        monkeypatch,
        STATUS,
        SlurmUnavailableError("no answer within 10 s"),
        replace(STATUS, state="FAILED+COMPLETING"),
        replace(STATUS, state=None, slurm_answers=False),
        replace(STATUS, state="COMPLETED"),
    )
    states = [line[10:] for line in text.splitlines() if line.startswith("job 4711")]
    assert states == ["RUNNING", "FAILED+COMPLETING", "Slurm does not answer", "COMPLETED"]
    assert "no answer within 10 s" in text
    assert "\x1b" not in text  # a pipe is not cleared


@pytest.mark.parametrize("args", [["--watch"], ["4711", "--watch", "--json"]])
def test_watch_is_for_one_run_and_for_people(args):
    done = CliRunner().invoke(status_module.command, args)
    assert "--watch shows one run" in str(done.exception)


def test_what_was_compiled_ahead():
    """Each size with its outcome; what does not compile says so."""
    compiles = (
        StatusCompile(num_csx=3, outcome="refused", seconds=4.2, reason="no placement"),
        StatusCompile(num_csx=2, outcome="compiled", seconds=3723.4, reason=""),
        StatusCompile(num_csx=1, outcome="failed", seconds=1.0, reason="exit code 1"),
    )
    text = format_status(replace(STATUS, compiles=compiles))
    assert "compiled ahead num_csx 3 does not compile, no restart gets it: no placement" in text
    assert "compiled ahead num_csx 2, in 1:02:03" in text
    assert "compiled ahead num_csx 1 failed, which says nothing about this size: exit co" in text
