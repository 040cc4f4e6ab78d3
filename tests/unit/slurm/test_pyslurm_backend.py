"""The child process that pyslurm runs in: its errors, its death, its deadline, the fall-back."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.control.locked_file import try_lock
from slurm_restart.core.job import Job, NodeState
from slurm_restart.errors import JobNotFoundError, SlurmUnavailableError
from slurm_restart.slurm import pyslurm_facts
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.pyslurm_backend import PyslurmBackend

Answers = dict[str, Callable[[Any], Any]]
FROM_COMMANDS = (NodeState(name="csx1", state="IDLE", gres="disk:2K"),)


class FakeRpcError(Exception):
    """As pyslurm's RPCError."""

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(text)
        self.errno = errno


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What the child does for each question; it is forked with these."""
    table: Answers = {"jobs": lambda _: ()}
    monkeypatch.setattr(
        pyslurm_facts, "answer", lambda question, argument: table[question](argument)
    )
    monkeypatch.setattr(Commands, "jobs", lambda _, uid=None: (job(99, uid),))
    monkeypatch.setattr(Commands, "nodes", lambda _: FROM_COMMANDS)
    return table


def job(job_id: int, uid: int | None = None) -> Job:
    return Job(job_id=job_id, uid=-1 if uid is None else uid, state=None)


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def slurm(answers: Answers, reports: list[str]) -> Iterator[PyslurmBackend]:
    assert answers
    backend = PyslurmBackend(None, "/etc/slurm.conf", timeout=300, report=reports.append)
    yield backend
    backend.close()


def fails(errno: int, text: str) -> Callable[[Any], Any]:
    def fail(_: object) -> None:
        raise FakeRpcError(errno, text)

    return fail


def test_one_child_answers_all_requests(answers: Answers, slurm: PyslurmBackend) -> None:
    def ask(_: object) -> tuple[Job]:
        return (Job(job_id=os.getpid(), uid=0, state=None, comment=os.environ["SLURM_CONF"]),)

    answers["jobs"] = ask
    (first,) = slurm.jobs()
    assert slurm.jobs() == (first,)
    assert first.job_id != os.getpid()
    assert first.comment == "/etc/slurm.conf"


def test_the_child_holds_no_lock_of_its_parent(slurm: PyslurmBackend, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    locked = try_lock(journal, create=True)
    assert locked is not None
    slurm.jobs()
    assert try_lock(journal) is None
    os.close(locked)
    again = try_lock(journal)
    assert again is not None
    os.close(again)
    slurm.jobs()


def test_the_uid_is_passed_on(answers: Answers, slurm: PyslurmBackend) -> None:
    answers["jobs"] = lambda uid: (job(1, uid),)
    assert slurm.jobs(uid=7) == (job(1, 7),)
    assert slurm.jobs() == (job(1),)


def test_a_job_that_pyslurm_cannot_read_is_read_with_the_commands(
    answers: Answers, slurm: PyslurmBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: Commands, job_id: int) -> Job:
        if job_id == 9:
            raise JobNotFoundError("job 9")
        return job(job_id, 5)

    monkeypatch.setattr(Commands, "job", read)
    answers["jobs"] = lambda _: (job(7, 5), 8, 9)
    assert slurm.jobs() == (job(7, 5), job(8, 5))


def test_gres_are_read_with_the_commands_when_a_slurmd_has_been_started(
    answers: Answers, slurm: PyslurmBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    start.write_text("100")
    gres = ["disk:2K"]

    def commands_nodes(_: Commands) -> tuple[NodeState, ...]:
        return (NodeState(name="csx1", state="DOWN", gres=gres.pop()),)

    def ask(_: object) -> tuple[tuple[NodeState, ...], tuple[int, ...]]:
        return (NodeState(name="csx1", state="IDLE"),), (int(start.read_text()),)

    monkeypatch.setattr(Commands, "nodes", commands_nodes)
    answers["nodes"] = ask
    for _ in range(2):
        assert slurm.nodes() == (NodeState(name="csx1", state="IDLE", gres="disk:2K"),)
    start.write_text("200")
    gres.append("disk:4K")
    assert slurm.nodes() == (NodeState(name="csx1", state="IDLE", gres="disk:4K"),)


@pytest.mark.parametrize("errno", [1800, 5004, 2027])
def test_a_controller_that_does_not_answer(
    answers: Answers, slurm: PyslurmBackend, reports: list[str], errno: int
) -> None:
    answers["jobs"] = fails(errno, "Slurm's text")
    with pytest.raises(SlurmUnavailableError, match="jobs: FakeRpcError: Slurm's text"):
        slurm.jobs()
    assert not reports


@pytest.mark.parametrize("errno", [1005, 2002, 0])
def test_other_errors_make_the_commands_answer_from_then_on(
    answers: Answers, slurm: PyslurmBackend, reports: list[str], errno: int
) -> None:
    answers["jobs"] = fails(errno, "Incompatible versions")
    answers["nodes"] = lambda _: ((NodeState(name="csx2", state="IDLE"),), (1,))
    assert slurm.jobs(uid=7) == (job(99, 7),)
    assert slurm.nodes() == FROM_COMMANDS
    assert reports == [
        "pyslurm: jobs: FakeRpcError: Incompatible versions; Slurm's commands are used from now on"
    ]


@pytest.mark.parametrize("question", ["jobs", "nodes"])
def test_a_crash_makes_the_commands_answer(
    answers: Answers, slurm: PyslurmBackend, reports: list[str], question: str
) -> None:
    answers[question] = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    assert getattr(slurm, question)()
    assert reports == [
        f"pyslurm: {question}: its process crashed; Slurm's commands are used from now on"
    ]


def test_a_missing_library_makes_the_commands_answer(
    answers: Answers, slurm: PyslurmBackend, reports: list[str]
) -> None:
    def fail(_: object) -> None:
        raise ImportError("libslurmfull.so: cannot open shared object file")

    answers["nodes"] = fail
    assert slurm.nodes() == FROM_COMMANDS
    assert "libslurmfull.so" in reports[0]


def test_a_late_child_is_killed_and_replaced(answers: Answers) -> None:
    answers["nodes"] = lambda _: threading.Event().wait()
    answers["jobs"] = lambda _: (job(os.getpid()),)
    slurm = PyslurmBackend(None, None, timeout=300)
    (late,) = slurm.jobs()
    slurm._timeout = 0.2
    with pytest.raises(SlurmUnavailableError, match=r"nodes: no answer within 0.2 s"):
        slurm.nodes()
    with pytest.raises(ProcessLookupError):
        os.kill(late.job_id, 0)
    slurm._timeout = 300
    assert slurm.jobs() not in ((late,), (job(99),))
    slurm.close()
