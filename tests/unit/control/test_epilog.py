"""The hook ends in time and with status 0, and logs every failure."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from slurm_restart.control import epilog, start_requeued
from slurm_restart.control.concurrency import take_slot
from slurm_restart.control.hook_log import HookLog
from slurm_restart.core.job import JobFlag
from slurm_restart.core.job_comment import format_comment
from tests.unit.control.conftest import Clock, FakeSlurm
from tests.unit.core import facts

ENTRY = "from slurm_restart.control.epilog import main; main()"
ENV = {
    "SLURM_CLUSTER_NAME": "c",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_UID": "1000",
    "SLURM_JOB_COMMENT": "csx-restart/1 run=0123456789abcdef;max=1;num=1;min=1",
    "SLURM_JOB_EXIT_CODE2": "1:0",
    "SLURM_JOB_RESTART_COUNT": "0",
    "SLURM_JOB_NODELIST": "n1",
}


def hook(folder: Path, *, squeue: str = "exit 1", settings: str = "", **env: str) -> str:
    """Run the hook with stub commands; returns its log."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    for name in ("squeue", "scontrol", "sinfo"):
        (commands / name).write_text(f"#!/bin/sh\n{squeue}\n")
        (commands / name).chmod(0o755)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    site = folder / "site.toml"
    site.write_text(
        f'state_dir = "{state}"\nslurm_bin = "{commands}"\nslurm_conf = "/none"\n{settings}'
    )
    site.chmod(0o644)
    folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ENTRY, str(site)],
        env=ENV | env,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = state / "csx-epilog.log"
    return log.read_text() if log.exists() else ""


def test_slurm_does_not_answer(tmp_path: Path) -> None:
    assert "nothing done: SlurmError" in hook(tmp_path)


def test_slurm_hangs(tmp_path: Path) -> None:
    settings = "[hook]\ncommand_timeout = 0.3\n"
    assert "nothing done: SlurmUnavailable" in hook(
        tmp_path, squeue="exec sleep 20", settings=settings
    )


def test_the_hook_ends_at_its_deadline(tmp_path: Path) -> None:
    assert "nothing done: HookTimeout" in hook(
        tmp_path, squeue="exec sleep 20", settings="[hook]\ndeadline = 0.5\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_JOB_COMMENT", "csx-restart/1 run=../../etc;max=1;num=1;min=1"),
        ("SLURM_JOB_COMMENT", "csx-restart/1 \x01\x02\x1b[2J"),
        ("SLURM_JOB_EXIT_CODE2", "x"),
        ("SLURM_JOB_ID", "7; reboot"),
        ("SLURM_JOB_UID", ""),
    ],
)
def test_invalid_facts_are_refused_and_logged(tmp_path: Path, name: str, value: str) -> None:
    log = hook(tmp_path, **{name: value})
    assert "nothing done" in log
    assert log.isprintable() or "\n" in log
    assert not (tmp_path / "state" / "journal").exists()


def test_an_answer_of_another_form_is_logged(tmp_path: Path) -> None:
    odd = 'printf "slurm 22.05.8\\n"'
    assert "nothing done" in hook(tmp_path, squeue=odd)


def test_without_settings_the_status_is_0(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", ENTRY, str(tmp_path / "none.toml")],
        env=ENV,
        check=False,
        capture_output=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, b"")


# --- in this process, over a fake Slurm ----------------------------------------------------------

OURS = ENV | {
    "SLURM_JOB_COMMENT": format_comment(facts.comment_record()),
    "SLURM_JOB_NODELIST": "csx[1-3]",
}
COMPLETING = facts.job(flags=frozenset({JobFlag.COMPLETING}), reason="NonZeroExitCode")


class Hook:
    """The hook with its outside replaced.

    Attributes:
        timers: the seconds that the alarm was set to, and what was logged, in order.
        detached: what detach() answers: whether it is the helper.
        helpers: how many helpers were started.
        started: the jobs that the helper was to start.
    """

    def __init__(
        self, folder: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, settings: str
    ) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.site = folder / "site.toml"
        self.site.write_text(f'state_dir = "{self.state}"\n{settings}')
        self.site.chmod(0o644)
        folder.chmod(0o755)
        self.timers: list[float | str] = []
        self.handlers: list[int] = []
        self.detached = False
        self.helpers = 0
        self.started: list[int] = []
        alarm = SimpleNamespace(
            SIGALRM=signal.SIGALRM,
            ITIMER_REAL=signal.ITIMER_REAL,
            signal=lambda number, _handler: self.handlers.append(number),
            setitimer=lambda _which, seconds: self.timers.append(seconds),
        )
        monkeypatch.setattr(epilog, "signal", alarm)
        monkeypatch.setattr(epilog, "commands_for", lambda _site: slurm)
        monkeypatch.setattr(start_requeued, "detach", self._detach)
        monkeypatch.setattr(
            start_requeued,
            "start_requeued",
            lambda _c, job_id, _record: self.started.append(job_id),
        )
        write = HookLog._append

        def append(log: HookLog, line: str) -> None:
            self.timers.append("logged")
            write(log, line)

        monkeypatch.setattr(HookLog, "_append", append)

    def _detach(self) -> bool:
        self.helpers += 1
        return self.detached

    def run(self, **env: str) -> str:
        """Run the hook; returns its log."""
        assert epilog.run(self.site, OURS | env) == 0
        log = self.state / "csx-epilog.log"
        return log.read_text() if log.exists() else ""


@pytest.fixture
def settings() -> str:
    """Further lines of site.toml."""
    return "[hook]\ndeadline = 42\n"


@pytest.fixture
def in_process(
    tmp_path: Path,
    slurm: FakeSlurm,
    clock: Clock,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
) -> Hook:
    slurm.show(COMPLETING)
    return Hook(tmp_path, slurm, monkeypatch, settings)


def test_without_a_restart_no_helper_is_started(in_process: Hook, slurm: FakeSlurm) -> None:
    final = format_comment(facts.comment_record(max_restarts=0))
    assert "-> leave" in in_process.run(SLURM_JOB_COMMENT=final)
    assert (slurm.requests, in_process.helpers) == ([], 0)


@pytest.mark.parametrize("settings", ['mode = "observe"\n'])
def test_observe_mode_asks_for_nothing_and_starts_no_helper(
    in_process: Hook, slurm: FakeSlurm
) -> None:
    assert "-> requeue" in in_process.run()
    assert (slurm.requests, in_process.helpers) == ([], 0)


def test_the_alarm_is_set_to_the_deadline_and_switched_off(in_process: Hook) -> None:
    in_process.run()
    assert in_process.handlers == [signal.SIGALRM]
    assert [timer for timer in in_process.timers if timer != "logged"] == [30.0, 42.0, 0]
    assert in_process.timers[-1] == 0


@pytest.mark.parametrize("env", [{"SLURM_JOB_ID": "x"}, {"SLURM_JOB_ID": "8"}])
def test_the_alarm_is_off_before_a_failure_is_logged(in_process: Hook, env: dict[str, str]) -> None:
    assert "nothing done: " in in_process.run(**env)
    assert in_process.timers == [30.0, 42.0, 0, "logged"]


def test_the_alarm_ends_the_hook() -> None:
    with pytest.raises(epilog.HookTimeoutError, match="deadline reached: left to the reconciler"):
        epilog._on_alarm(signal.SIGALRM, None)


@pytest.mark.parametrize("settings", ["[hook]\nconcurrency = 1\nqueue_timeout = 0.1\n"])
def test_without_a_free_slot_nothing_is_done(in_process: Hook, slurm: FakeSlurm) -> None:
    slot = take_slot(in_process.state, count=1, timeout=0)
    assert slot is not None
    assert "no slot in time: left to the reconciler" in in_process.run()
    assert slurm.calls == []
    os.close(slot)


@pytest.mark.parametrize("settings", ["[hook]\nconcurrency = 1\nqueue_timeout = 0.1\n"])
@pytest.mark.parametrize("job_id", ["7", "8"])
def test_the_slot_is_released_before_the_helper_and_after_a_failure(
    in_process: Hook, job_id: str
) -> None:
    in_process.run(SLURM_JOB_ID=job_id)
    slot = take_slot(in_process.state, count=1, timeout=0)
    assert slot is not None
    os.close(slot)


# --- start-up ------------------------------------------------------------------------------------

HEAVY = {
    "ClusterShell",
    "asyncio",
    "click",
    "email",
    "h5py",
    "http",
    "hyperscan",
    "importlib.metadata",
    "jinja2",
    "logging",
    "multiprocessing",
    "numpy",
    "pydoc",
    "pyslurm",
    "re2",
    "socket",
    "ssl",
    "sqlite3",
    "unittest",
    "urllib.request",
    "yaml",
}
"""Modules that the hook must not import on any Python."""
COSTLY = {"ast", "dis", "inspect", "tokenize", "traceback"}
"""Modules that the hook imports only where dataclasses or typing need them."""
HOOK_MODULES = """
import sys
import slurm_restart.control.epilog, slurm_restart.control.advance
import slurm_restart.control.start_requeued
print(*sys.modules)
"""
BASELINE = """
import sys
from types import ModuleType
class Deferred(ModuleType):
    def __getattr__(self, name):
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(__import__(self.__name__), name)
sys.modules["inspect"] = Deferred("inspect")
import contextlib, json, pathlib, re, shlex, subprocess, threading, tomllib, typing
from dataclasses import dataclass
@dataclass(frozen=True, kw_only=True)
class WithDocstring:
    '''As each dataclass of the package has.'''
    number: int = 0
class Named(typing.NamedTuple):
    number: int
typing.get_type_hints(WithDocstring)
print(*sys.modules)
"""


def imported(code: str) -> set[str]:
    """The modules that a fresh interpreter has after some code; a placeholder is one of them."""
    command = [sys.executable, "-I", "-c", code]
    # Without environment, so that a coverage run is not continued there.
    output = subprocess.check_output(command, text=True, cwd=os.sep, env={}, timeout=300)
    return set(output.split())


def test_nothing_heavy_is_imported() -> None:
    assert imported(HOOK_MODULES) & HEAVY == set()


def test_costly_modules_are_imported_only_where_dataclasses_need_them() -> None:
    """Python 3.13 needs inspect for every dataclass, and 3.14 needs ast; 3.11 and 3.12 neither."""
    assert (imported(HOOK_MODULES) & COSTLY) - imported(BASELINE) == set()


def test_inspect_is_deferred_and_works_when_it_is_used() -> None:
    code = (
        "import sys, slurm_restart.control.epilog\n"
        "import inspect\n"
        "print(inspect.signature(len), sys.modules['inspect'].__file__.endswith('inspect.py'))"
    )
    command = [sys.executable, "-I", "-c", code]
    out = subprocess.check_output(command, text=True, cwd=os.sep, timeout=300)
    assert out == "(obj, /) True\n"


def test_every_dataclass_has_a_docstring() -> None:
    """Without one, dataclasses computes a signature, which needs inspect."""
    code = (
        "import dataclasses, sys\n"
        "import slurm_restart.control.advance, slurm_restart.control.start_requeued\n"
        "modules = [m for n, m in sys.modules.items() if n.startswith('slurm_restart')]\n"
        "classes = {c for m in modules for c in vars(m).values() if isinstance(c, type)}\n"
        "found = [c for c in classes if dataclasses.is_dataclass(c)]\n"
        "bare = [c.__name__ for c in found if (c.__doc__ or '').startswith(c.__name__ + '(')]\n"
        "print(len(found) > 20, bare)"
    )
    command = [sys.executable, "-I", "-c", code]
    out = subprocess.check_output(command, text=True, cwd=os.sep, timeout=300)
    assert out == "True []\n"
