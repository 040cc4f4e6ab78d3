"""No file and no argument ends a command with a traceback, blocks it, or steers the terminal."""

import io
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.cli import common
from slurm_restart.cli.restart import group
from slurm_restart.cli.rules import MAX_STDIN
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, Mode, format_comment
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.commands import Commands
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, to_json
from slurm_restart.trainer.run_plan import (
    CheckpointLayout,
    LoopFacts,
    RestartPolicy,
    RunPlan,
    SlurmAccess,
)
from slurm_restart.trainer.rundir import RunDir

HANG = 120
"""Seconds after which a test ends; only there to end a hang."""
EXAMPLES = 15
OWNER = 4711
"""Owner of the run directories where root runs the tests."""
DOCUMENTED = {0, 1, 2, 3, 4, 5, 6, 7, 8, 75}
"""docs/reference/commands.md; `rules lint` exits with 3 for problems, `doctor` with 1."""
RUN = "0123456789abcdef"
DEEP = b"[" * 10_000 + b"]" * 10_000
CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])) + "\u202e\u2066\u2028\u2029\u200f"
STEERS = f"a{CONTROLS}z"
"""Every control character of C0 and C1, DEL, bidirectional controls, line separators."""


@dataclass(frozen=True)
class Ended:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def end(*_: object) -> None:
        raise TimeoutError(f"a command did not end within {HANG} s")

    former = signal.signal(signal.SIGALRM, end)
    signal.alarm(HANG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither rules of the user nor commands of Slurm."""

    def refuse(*_: object, **__: object) -> None:
        raise SlurmUnavailableError(f"no answer: {STEERS}")

    for name in ("job", "jobs", "nodes", "script", "config", "cluster_name"):
        monkeypatch.setattr(Commands, name, refuse)
    if os.getuid() == 0:  # root writes no records
        monkeypatch.setattr(os, "geteuid", lambda: OWNER)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def call(*args: str, stdin: bytes = b"") -> Ended:
    """Run csx-restart as a program does, and check what holds for every input."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    former, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as caught:
            common.run(group, "csx-restart", args)
    finally:
        sys.stdin = former
    shown = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    code = caught.value.code
    assert code in DOCUMENTED, (code, shown)
    for text in shown:
        # Rules over log lines have patterns that name the word.
        assert "Traceback (most recent call last)" not in text
        assert escape_controls(text, keep="\n\t") == text
    assert isinstance(code, int)
    return Ended(code, *shown)


# Kinds of files, by what makes one at a path.


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


KINDS: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda _: None,
    "empty": Path.touch,
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "deep": lambda path: path.write_bytes(DEEP),
    "deep_objects": lambda path: path.write_bytes(b'{"runs":' * 10_000),
    "json_text": lambda path: path.write_text(json.dumps(STEERS)),
    "long_number": lambda path: path.write_bytes(b"9" * 5000),
    "directory": Path.mkdir,
    "fifo": _fifo,
    "loop": _loop,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "unreadable": _unreadable,
}
HUGE = {"terabyte": _sparse}
"""Not for logs: a log of any size is read."""
COMMANDS = [
    "status {}",
    "status --json {}",
    "explain {}",
    "log {}",
    "log --json {}",
    "list --site {}",
    "nodes --site {}",
    "nodes clear {} --site {}",
    "explain 7 --site {}",
    "classify {}",
    "classify --json {}",
    "classify --rules {} {log}",
    "rules lint {}",
    "rules list --rules {}",
    "rules show x --rules {}",
    "rules test --rules {} line",
    "doctor --site {}",
    "reconcile --site {}",
    "hook --site {}",
]


def named(kinds: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", kinds.values(), ids=kinds)


@named(KINDS)
def test_any_kind_of_file_given_to_any_command(make: Callable[[Path], Any], tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("step 1\n")
    path = tmp_path / f"a{STEERS.replace('/', '').replace(chr(0), '')}.yaml"
    make(path)
    for command in COMMANDS:
        call(*(part.format(path, log=log) for part in command.split()))


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """A run directory with one attempt, which has failed."""
    return make_run_dir(tmp_path / "run")


def make_run_dir(path: Path) -> RunDir:
    path.mkdir()
    if os.getuid() == 0:
        os.chown(path, OWNER, -1)
    run = RunDir(path)
    plan_of(path).save(run.plan)
    attempt = run.new_attempt()
    start = AttemptStart(
        attempt=0,
        at=1.0,
        job_id=7,
        restarts=0,
        nodes=("n1",),
        num_csx=1,
        checkpoint=None,
        from_step=0,
        resumed=False,
        first_step=0,
        last_step=None,
    )
    attempt.start_file.write_bytes(to_json(start))
    end = AttemptEnd(attempt=0, at=2.0, category="code", rule="r", reason=STEERS)
    attempt.end_file.write_bytes(to_json(end))
    attempt.output.write_text("ModuleNotFoundError: No module named 'x'\n")
    attempt.progress_file.touch()
    return run


def plan_of(path: Path) -> RunPlan:
    return RunPlan(
        run=RUN,
        phase=0,
        phases=1,
        mode=Mode.FIT,
        num_nodes=1,
        min_nodes=1,
        num_csx=1,
        csx_per_node=1,
        policy=RestartPolicy(max_restarts=1),
        command="true",
        arguments=(),
        model_dir=str(path.parent),
        work_dir=str(path.parent),
        config_path=str(path / "params.yaml"),
        checkpoint=CheckpointLayout(directory=str(path), pattern=r"(?P<step>\d+)"),
        checkpoint_steps=None,
        initial_checkpoint=None,
        autoload_last_checkpoint=False,
        loop=LoopFacts(),
        slurm=SlurmAccess(bin_dir="/usr/bin"),
    )


FILES = [
    "plan.json",
    "summary.json",
    "run.log",
    "rules",
    "attempts",
    "attempts/0",
    "attempts/0/start.json",
    "attempts/0/end.json",
    "attempts/0/progress.jsonl",
    "attempts/0/output.log",
]


@pytest.mark.parametrize("name", FILES)
def test_a_run_directory_with_any_kind_of_file_in_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Commands, "job", lambda *_: FAILED)
    monkeypatch.setattr(Commands, "script", lambda *_: None)
    kinds = KINDS if name.endswith("output.log") else KINDS | HUGE
    for kind, make in kinds.items():
        run = make_run_dir(tmp_path / kind)
        path = run.path / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path)
        for command in ("status", "explain", "classify"):
            call(command, str(run.path))


@named(KINDS | HUGE)
def test_any_kind_of_journal(make: Callable[[Path], Any], tmp_path: Path) -> None:
    folder = tmp_path / "state" / "journal" / "alps"
    folder.mkdir(parents=True)
    make(folder / f"7-0-{RUN}.jsonl")
    site = tmp_path / "site.toml"
    site.write_text(f'state_dir = "{tmp_path}/state"\n')
    call("explain", "7", "--site", str(site))


FAILED = Job(
    job_id=7,
    uid=os.getuid(),
    state=JobState.FAILED,
    reason=STEERS,
    comment=format_comment(CommentRecord(run=RUN, max_restarts=1, num_nodes=1, min_nodes=1)),
    admin_comment=STEERS,
    nodes=(STEERS,),
    exc_nodes=(STEERS,),
    std_out=STEERS,
)


@settings(max_examples=EXAMPLES)
@given(data=st.binary(max_size=200))
def test_any_bytes_in_any_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.yaml"
        path.write_bytes(data)
        for command in COMMANDS:
            if command.startswith(("classify", "rules lint", "doctor", "reconcile", "explain 7")):
                call(*(part.format(path, log=path) for part in command.split()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["runs", "status", "failure_reason", "starting_step", "root_cause", "text"])


@settings(max_examples=EXAMPLES)
@given(data=st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON), max_size=3)))
def test_any_json_as_a_record(data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = make_run_dir(Path(folder) / "run")
        for path in (run.summary, run.attempts()[0].end_file):
            path.write_text(json.dumps(data))
        for command in ("status", "explain", "status --json"):
            call(*command.split(), str(run.path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", "{"),
        ("attempts/0/start.json", "[]"),
        ("attempts/0/end.json", '{"attempt": "x"}'),
        ("attempts/0/progress.jsonl", '{"at": 1, "step"'),
    ],
)
def test_a_record_that_cannot_be_read_is_reported(run_dir: RunDir, name: str, content: str) -> None:
    path = run_dir.path / name
    path.write_text(content)
    for command in ("status", "explain"):
        ended = call(command, str(run_dir.path))
        assert f"{path}:" in ended.out
        problems = json.loads(call(command, "--json", str(run_dir.path)).out)["problems"]
        # Without Slurm there is one problem more.
        problems = [text for text in problems if not text.startswith("no answer: ")]
        assert len(problems) == 1
        assert problems[0].startswith(f"{path}:")


ARGUMENT = st.binary(max_size=12).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
"""What a shell can pass: any bytes but NUL."""
HOSTILE = st.sampled_from([STEERS[3:], "9" * 5000, "n[0-99999999]", "x" * 5000, "-", "", "\u0660"])
OPTIONS = {
    "status": ["--all", "--json", "--backend"],
    "explain": ["--json", "--site"],
    "classify": [
        "--state",
        "--exit-code",
        "--nodes",
        "--job",
        "--rules",
        "--json",
        "--format",
        "md",
    ],
    "doctor": ["--json", "--site"],
    "rules": ["list", "show", "test", "lint", "--family", "--category", "--json"],
}


@pytest.mark.parametrize("command", OPTIONS)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_any_arguments(command: str, data: st.DataObject) -> None:
    option = st.sampled_from(OPTIONS[command])
    given_ = data.draw(st.lists(option | ARGUMENT | HOSTILE, max_size=4))
    call(command, *given_, stdin=data.draw(st.binary(max_size=40)))


@pytest.fixture
def hostile_job(monkeypatch: pytest.MonkeyPatch, run_dir: RunDir) -> RunDir:
    """Slurm shows a job in which all text of the user, or of an admin, steers the terminal."""
    script = run_dir.path / "job.sh"
    script.touch()
    monkeypatch.setattr(Commands, "job", lambda *_: FAILED)
    monkeypatch.setattr(Commands, "jobs", lambda *_, **__: (FAILED,))
    monkeypatch.setattr(Commands, "script", lambda *_: script)
    return run_dir


@pytest.mark.parametrize("name", ["status", "status 7", "explain 7"])
def test_texts_of_a_job_are_escaped(hostile_job: RunDir, name: str) -> None:
    ended = call(*name.split())
    assert ended.code == 0
    assert escape_controls(STEERS) in ended.out
    json.loads(call(*name.split(), "--json").out)
    assert hostile_job.plan.is_file()


def test_the_path_of_a_jobs_log_is_escaped(hostile_job: RunDir) -> None:
    assert hostile_job.path.is_dir()
    ended = call("classify", "--job", "7")
    assert ended.code == 0
    assert escape_controls(STEERS) in ended.out


def test_texts_of_an_admin_are_escaped(hostile_job: RunDir) -> None:
    assert hostile_job.path.is_dir()
    [line] = [line for line in call("status", "7").out.splitlines() if "admin_comment" in line]
    assert escape_controls(STEERS) in line


def test_lines_and_names_of_a_log_are_escaped(tmp_path: Path) -> None:
    log = tmp_path / f"a{STEERS.replace(chr(0), '').replace('/', '')}.log"
    log.write_bytes(f"RuntimeError: {STEERS}\n".encode())
    ended = call("classify", str(log), str(tmp_path / f"\x1b[2J{os.fsdecode(bytes([255]))}"))
    assert ended.code == 0
    assert r"/\x1b[2J\udcff:" in ended.out


def test_a_rule_and_a_line_that_is_tested_are_escaped(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rule = {
        "id": "own.one",
        "category": "code",
        "role": "root",
        "meaning": "a\x1b[2Jz",
        "pattern": "steers",
        "examples": {"positive": ["steers"], "negative": []},
    }
    rules.write_text(json.dumps({"rules": [rule]}))
    for command in ("list", "show own.one", "test steers"):
        shown = call("rules", *command.split(), "--rules", str(rules))
        assert shown.code == 0
        assert "own.one" in shown.out
        assert r"a\x1b[2Jz" in shown.out
    ended = call("rules", "test", stdin=b"steers \x1b[2J \xff\xe2\x80\xae\n")
    assert ended.code == 0


def test_lines_to_test_are_bounded() -> None:
    ended = call("rules", "test", stdin=b"\0" * (MAX_STDIN + 1))
    assert (ended.code, f"at most {MAX_STDIN} bytes" in ended.err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [["status", "--\x1b[2J"], ["\x1b]0;x\x07\u202e"], ["classify", "--job", "\x9b2J"]],
)
def test_a_wrong_argument_is_repeated_escaped(arguments: list[str]) -> None:
    ended = call(*arguments)
    assert ended.code == 2
    assert "\\x" in ended.err or "\\u202e" in ended.err


@pytest.mark.parametrize("command", [["doctor"], ["doctor", "--json"]])
def test_what_doctor_repeats_of_slurm_is_escaped(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    site.write_text("")
    config = {"EpilogSlurmctld": f"/{STEERS}", "SlurmUser": STEERS, "MinJobAge": STEERS}
    monkeypatch.setattr(Commands, "config", lambda _: config)
    assert call(*command, "--site", str(site)).code == 1


def test_a_terminal_of_another_encoding_shows_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    log = tmp_path / "job.log"
    log.write_text("RuntimeError: " + "x" * 500 + "\n")
    with pytest.raises(SystemExit) as caught:
        common.run(group, "csx-restart", ["classify", str(log)])
    assert caught.value.code == 0
