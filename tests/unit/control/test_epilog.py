"""A process judges its own end first and then others; its exit status is that of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slurm_restart.control import epilog, queue_worker, waiting_jobs
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_queue import claim, queued
from slurm_restart.control.epilog import LONG_SLICE, NOT_SERVED, SERVED, SLICE
from slurm_restart.control.guarded_advance import Advanced
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.control.kept_answers import KeptAnswers
from slurm_restart.control.queue_worker import MANY
from tests.unit.control.conftest import Clock
from tests.unit.control.test_end_queue import queue

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY = "from slurm_restart.control.epilog import main; main()"
COMMENT = "csx-restart/1 run=0123456789abcdef;max=1;num=1;min=1"


def hook(
    folder: Path, *, squeue: str = "exit 1", settings: str = "", comment: str = COMMENT
) -> tuple[int, str]:
    """Run the program with stub commands for one end; return its exit status and its log."""
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
    path = queue(state)
    path.write_text(path.read_text().replace("mine", comment))
    done = subprocess.run(
        [sys.executable, "-I", "-c", ENTRY, str(site), str(path)],
        env={},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.stdout, done.stderr) == ("", "")
    log = state / "csx-epilog.log"
    return done.returncode, log.read_text() if log.exists() else ""


def test_slurm_does_not_answer(tmp_path: Path) -> None:
    status, log = hook(tmp_path)
    assert status == NOT_SERVED
    assert "job 7: nothing done: SlurmError" in log
    assert len(queued(tmp_path / "state")) == 1


def test_slurm_hangs(tmp_path: Path) -> None:
    settings = "[hook]\ncommand_timeout = 0.3\n"
    status, log = hook(tmp_path, squeue="exec sleep 300", settings=settings)
    assert status == NOT_SERVED
    assert "nothing done: SlurmUnavailable" in log


def test_the_end_has_a_deadline(tmp_path: Path) -> None:
    settings = "[hook]\ncommand_timeout = 100\ndeadline = 0.5\n"
    status, log = hook(tmp_path, squeue="exec sleep 300", settings=settings)
    assert status == NOT_SERVED
    assert "nothing done: HookTimeout" in log


def test_an_answer_of_another_form_is_logged(tmp_path: Path) -> None:
    status, log = hook(tmp_path, squeue='printf "slurm 22.05.8\\n"')
    assert "nothing done" in log
    assert status in (SERVED, NOT_SERVED)


@pytest.mark.parametrize(
    "comment", ["csx-restart/1 run=../../etc;max=1;num=1;min=1", "csx-restart/1 \x01\x02\x1b[2J"]
)
def test_a_record_that_no_plugin_wrote_is_refused_for_good(tmp_path: Path, comment: str) -> None:
    status, log = hook(tmp_path, comment=comment)
    assert status == SERVED
    assert "nothing done: CommentRecordError" in log
    assert "\x1b" not in log
    assert queued(tmp_path / "state") == ()
    assert not (tmp_path / "state" / "journal").exists()


def test_without_settings_the_end_is_not_served(tmp_path: Path) -> None:
    path = queue(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ENTRY, str(tmp_path / "none.toml"), str(path)],
        env={},
        check=False,
        capture_output=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (NOT_SERVED, b"")
    assert path.exists()


# --- in this process -----------------------------------------------------------------------------


class Process:
    """The program with its outside replaced.

    Attributes:
        results: what the step of a job gives, by job id; otherwise it needs no further one.
        served: the jobs that were advanced, in order, with the facts of their ends.
        handed_over: the jobs that the helper got.
        during: called while a job is advanced.
    """

    def __init__(self, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.site = folder / "site.toml"
        self.site.write_text(f'state_dir = "{self.state}"\n')
        self.site.chmod(0o644)
        folder.chmod(0o755)
        self.clock = clock
        self.results: dict[int, Advanced] = {}
        self.served: list[tuple[int, HookEnvironment | None]] = []
        self.handed_over: list[tuple[str, int]] = []
        self.during: Callable[[int], object] = lambda _job_id: None
        self.slurm = ExpectingSlurm()
        monkeypatch.setattr(epilog, "time", clock)
        monkeypatch.setattr(queue_worker, "time", clock)
        monkeypatch.setattr(epilog, "commands_with_kept_answers", lambda _site: self.slurm)
        monkeypatch.setattr(queue_worker, "guarded_advance", self._advance)
        monkeypatch.setattr(
            waiting_jobs,
            "hand_over",
            lambda controller, job_id, _site: self.handed_over.append((controller.cluster, job_id)),
        )

    def _advance(
        self, controller: Controller, job_id: int, *, hook: HookEnvironment | None = None
    ) -> Advanced:
        assert hook is not None
        assert controller.cluster == hook.cluster
        assert claim(self.paths[job_id]) is None
        self.served.append((job_id, hook))
        self.during(job_id)
        return self.results.get(job_id, Advanced(done=True))

    def run(self, *jobs: int) -> int:
        """Run for the last of these jobs, whose ends came in this order; return the status."""
        self.paths = {job_id: queue(self.state, f"{job_id}.1", job_id=job_id) for job_id in jobs}
        for second, path in enumerate(self.paths.values(), 1):
            os.utime(path, (second, second))
        return epilog.run(self.site, self.paths[jobs[-1]])

    @property
    def jobs(self) -> list[int]:
        return [job_id for job_id, _ in self.served]

    @property
    def left(self) -> set[int]:
        return {int(path.name.partition(".")[0]) for path in queued(self.state)}

    @property
    def log(self) -> str:
        log = self.state / "csx-epilog.log"
        return log.read_text() if log.exists() else ""


class ExpectingSlurm(KeptAnswers):
    """Slurm that is asked in advance, and for nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: list[int] = []
        self.dropped: list[tuple[str, float]] = []
        self.announced: list[list[int]] = []

    def drop(self, name: str, *, before: float) -> None:
        self.dropped.append((name, before))

    def announce(self, job_ids: Sequence[int]) -> None:
        self.announced.append(list(job_ids))

    def expect(self, job_id: int) -> None:
        self.expected.append(job_id)


@pytest.fixture
def process(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(tmp_path, clock, monkeypatch)


def test_the_own_end_is_first_and_then_the_oldest(process: Process) -> None:
    assert process.run(3, 1, 2) == SERVED
    assert process.jobs == [2, 3, 1]
    assert process.left == set()
    assert process.slurm.announced == [[3, 1]]
    assert process.slurm.expected == [2, 3, 1]
    assert process.log == ""


def test_an_end_is_judged_by_nodes_that_were_read_after_it(process: Process) -> None:
    ended: list[float] = []
    process.during = lambda job_id: ended.append(process.paths[job_id].stat().st_mtime)
    process.run(1, 2)
    assert process.slurm.dropped == [("nodes", at) for at in ended]


def test_ends_that_come_meanwhile_are_served(process: Process) -> None:
    def come(job_id: int) -> None:
        if job_id == 1:
            process.paths[9] = queue(process.state, "9.1", job_id=9)

    process.during = come
    process.run(1, 2)
    assert process.jobs == [2, 1, 9]


def test_no_other_end_is_begun_after_the_slice(process: Process) -> None:
    def take(_job_id: int) -> None:
        process.clock.now += 0.4 * SLICE

    process.during = take
    assert process.run(1, 2, 3, 4) == SERVED
    assert process.jobs == [4, 1, 2]
    assert process.left == {3}


def test_while_many_ends_wait_the_slice_is_longer(process: Process) -> None:
    def take(_job_id: int) -> None:
        process.clock.now += SLICE

    process.during = take
    assert process.run(*range(1, MANY + 4)) == SERVED
    assert process.jobs == [MANY + 3, 1, 2, 3]  # one less than many are left
    assert LONG_SLICE > 3 * SLICE


def test_a_longer_slice_ends_too(process: Process) -> None:
    def take(_job_id: int) -> None:
        process.clock.now += LONG_SLICE / 2

    process.during = take
    assert process.run(*range(1, MANY + 20)) == SERVED
    assert process.jobs == [MANY + 19, 1]


def test_the_own_end_is_served_however_long_the_start_took(process: Process) -> None:
    def take(_job_id: int) -> None:
        process.clock.now += 100 * SLICE

    process.during = take
    assert process.run(1, 2) == SERVED
    assert process.jobs == [2]


def test_an_end_that_another_process_serves_is_passed_over(process: Process) -> None:
    def claim_first(job_id: int) -> None:
        if job_id == 3:
            claimed.append(claim(process.paths[1]))

    claimed: list[Any] = []
    process.during = claim_first
    process.run(1, 2, 3)
    assert process.jobs == [3, 2]
    assert process.left == {1}
    claimed[0].release(done=False)


def test_an_own_end_that_is_gone_is_served(process: Process) -> None:
    queue(process.state, "1.1", job_id=1)
    process.paths = {1: process.state / "queue" / "1.1"}
    assert epilog.run(process.site, process.state / "queue" / "2.1") == SERVED
    assert process.jobs == [1]


def test_after_a_failure_the_end_stays_and_the_process_ends(process: Process) -> None:
    process.results = {2: Advanced(done=False)}
    assert process.run(1, 2) == NOT_SERVED
    assert process.jobs == [2]  # other ends would only delay what csx-epilog does now
    assert process.left == {1, 2}


def test_another_end_that_failed_is_left_to_its_own_process(process: Process) -> None:
    process.results = {1: Advanced(done=False)}
    assert process.run(1, 2, 3) == SERVED
    assert process.jobs == [3, 1, 2]
    assert process.left == {1}


def test_jobs_that_need_another_step_go_to_the_helper(process: Process) -> None:
    process.results = {job_id: Advanced(done=True, look_again=5.0) for job_id in (2, 3)}
    process.run(1, 2, 3)
    assert process.handed_over == [("c", 3), ("c", 2)]
    assert process.left == set()


def test_a_damaged_file_is_logged_and_removed(process: Process) -> None:
    def damage(_job_id: int) -> None:
        process.paths[1].write_text("x")

    process.during = damage
    assert process.run(1, 2) == SERVED
    assert process.jobs == [2]
    assert process.left == set()
    assert "1.1 removed, not judged: expected lines of" in process.log


def test_ends_of_another_cluster_are_left_to_it(process: Process) -> None:
    process.paths = {1: queue(process.state, "1.1", job_id=1, cluster="d")}
    process.paths |= {2: queue(process.state, "2.1", job_id=2)}
    assert epilog.run(process.site, process.paths[2]) == SERVED
    assert process.jobs == [2]
    assert process.left == {1}


def test_the_facts_of_the_end_are_passed_on(process: Process) -> None:
    process.run(7)
    [(_, env)] = process.served
    assert env is not None
    assert (env.exit_code, env.uid, env.nodelist, env.comment) == (3, 1000, "csx1", "mine")


def test_waiting_for_the_own_end_has_a_time_limit(process: Process) -> None:
    process.site.write_text(f'state_dir = "{process.state}"\n[hook]\ndeadline = 0.2\n')
    path = queue(process.state, "7.1")
    end = claim(path)
    assert end is not None
    assert epilog.run(process.site, path) == NOT_SERVED
    assert process.served == []
    assert "job 7: nothing done: HookTimeoutError" in process.log
    end.release(done=False)


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
import slurm_restart.control.waiting_jobs
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
        "import slurm_restart.control.epilog, slurm_restart.control.advance\n"
        "import slurm_restart.control.requeue_helper\n"
        "modules = [m for n, m in sys.modules.items() if n.startswith('slurm_restart')]\n"
        "classes = {c for m in modules for c in vars(m).values() if isinstance(c, type)}\n"
        "found = [c for c in classes if dataclasses.is_dataclass(c)]\n"
        "bare = [c.__name__ for c in found if (c.__doc__ or '').startswith(c.__name__ + '(')]\n"
        "print(len(found) > 20, bare)"
    )
    command = [sys.executable, "-I", "-c", code]
    out = subprocess.check_output(command, text=True, cwd=os.sep, timeout=300)
    assert out == "True []\n"
