"""`csx-restart log`: run.log and the outputs as one, and what is added while it is followed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from slurm_restart.cli import log
from slurm_restart.cli.run_log import MAX_LINE, Follower, lines_of
from slurm_restart.errors import JobNotFoundError, SlurmUnavailableError, UsageError
from slurm_restart.slurm.commands import Commands
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.runlog import append, line
from tests.unit.cli.test_any_input import make_run_dir

STEERS = "\x1b]0;title\x07\x9b2J\u202e"


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run with two attempts, and a third of which run.log says nothing."""

    def refuse(*_: object, **__: object) -> None:
        raise SlurmUnavailableError("no answer")

    for name in ("job", "jobs", "script"):
        monkeypatch.setattr(Commands, name, refuse)
    run = make_run_dir(tmp_path / "run")
    run.log.unlink(missing_ok=True)
    for number in range(3):
        attempt = run.attempts()[0] if number == 0 else run.new_attempt()
        attempt.output.write_text(f"output {number}\n")
    say(run, "main", "submitted")
    for name in ("run_1", "run_2"):
        for text in ("started", "saved", "ended"):
            say(run, name, text)
        say(run, "main", f"after {name}")
    return run


def say(run: RunDir, name: str, text: str) -> None:
    append(run.log, line(name, text, at=1.0))


def shown(lines) -> list[str]:
    return [each.text.rpartition("   ")[2] for each in lines]


FIRST = ["started", "output 0", "saved", "ended"]
SECOND = ["started", "output 1", "saved", "ended"]


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (None, ["submitted", *FIRST, "after run_1", *SECOND, "after run_2", "output 2"]),
        (0, FIRST),
        (1, SECOND),
        (2, ["output 2"]),
    ],
)
def test_all_attempts_as_one_or_one_alone(run_dir, attempt, expected):
    assert shown(lines_of(run_dir, attempt=attempt)) == expected


@pytest.mark.parametrize("attempt", [None, 1])
def test_following_shows_each_line_once(run_dir, attempt):
    second = run_dir.attempts()[1].output
    with second.open("a") as file:
        file.write("half")
    follower = Follower(run_dir, attempt=attempt)
    before = list(lines_of(run_dir, attempt=attempt, ends=follower.begin()))
    assert "half" not in shown(before)
    assert follower.read() == []
    with second.open("a") as file:
        file.write(" and half\nmore\n")
    say(run_dir, "run_2", "ended again")
    assert shown(follower.read()) == ["half and half", "more", "ended again"]
    run_dir.new_attempt().output.write_text("output 3\n")
    say(run_dir, "main", "about the run")
    added = ["output 3", "about the run"] if attempt is None else []
    assert shown(follower.read()) == added
    assert follower.read() == []


def test_an_output_that_is_written_anew_is_read_from_its_beginning(run_dir):
    follower = Follower(run_dir, attempt=2)
    follower.begin()
    output = run_dir.attempts()[2].output
    output.write_text("new\n")
    assert shown(follower.read()) == ["new"]


def test_a_line_without_end_is_shown_in_parts(run_dir):
    run_dir.attempts()[2].output.write_bytes(b"x" * (2 * MAX_LINE + 7))
    assert [len(each.text) for each in lines_of(run_dir, attempt=2)] == [MAX_LINE, MAX_LINE, 7]


def test_colours_and_progress_bars_are_shown_as_text(run_dir):
    text = "\x1b[1;32mgreen\x1b[0m\r\n 10%|#\r 20%|##\r\n"
    run_dir.attempts()[2].output.write_bytes(text.encode())
    assert shown(lines_of(run_dir, attempt=2)) == ["green", " 20%|##"]


def invoke(run: RunDir, *args: str) -> str:
    done = CliRunner().invoke(log.command, [str(run.path), *args], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_no_text_of_a_trainer_steers_the_terminal(run_dir):
    run_dir.attempts()[2].output.write_text(f"a\t{STEERS}z\n")
    assert invoke(run_dir, "--attempt", "2") == "a\t\\x1b]0;title\\x07\\x9b2J\\u202ez\n"


def test_json_is_an_object_a_line(run_dir):
    found = [json.loads(text) for text in invoke(run_dir, "--json", "--attempt", "1").splitlines()]
    assert [(each["attempt"], each["source"]) for each in found] == [
        (1, "run.log"),
        (1, "output"),
        (1, "run.log"),
        (1, "run.log"),
    ]


def test_an_attempt_that_is_not_there(run_dir):
    with pytest.raises(UsageError, match="--attempt 9: there is no such attempt: the last is 2"):
        invoke(run_dir, "--attempt", "9")


def test_following_a_run_of_which_slurm_knows_nothing_ends(run_dir, monkeypatch):
    answers = iter([SlurmUnavailableError("no answer"), JobNotFoundError("7")])

    def answer(*_: object) -> None:
        raise next(answers, JobNotFoundError("7"))

    monkeypatch.setattr(Commands, "job", answer)
    monkeypatch.setattr(log, "_INTERVAL", 0)
    monkeypatch.setattr(log, "_ASK_EVERY", 0)
    assert invoke(run_dir, "-f") == invoke(run_dir)
