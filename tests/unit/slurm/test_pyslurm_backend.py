"""The child process that pyslurm runs in: its errors, its death, its deadline, the fall-back."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm import pyslurm_facts
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.pyslurm_backend import PyslurmBackend

Answers = dict[str, Callable[[Any], Any]]
FROM_COMMANDS: tuple[Any, ...] = ("from the commands",)


class FakeRpcError(Exception):
    """As pyslurm's RPCError."""

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(text)
        self.errno = errno


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What the child does for each question; it is forked with these."""
    table: Answers = {"ping": lambda _: True}
    monkeypatch.setattr(
        pyslurm_facts, "answer", lambda question, argument: table[question](argument)
    )
    monkeypatch.setattr(Commands, "jobs", lambda _, uid=None: (*FROM_COMMANDS, uid))
    monkeypatch.setattr(Commands, "nodes", lambda _: FROM_COMMANDS)
    monkeypatch.setattr(Commands, "ping", lambda _: True)
    return table


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
    answers["nodes"] = lambda _: (os.getpid(), os.environ["SLURM_CONF"])
    first: Any = slurm.nodes()
    assert first == slurm.nodes()
    assert first[0] != os.getpid()
    assert first[1] == "/etc/slurm.conf"


def test_the_uid_is_passed_on(answers: Answers, slurm: PyslurmBackend) -> None:
    answers["jobs"] = lambda uid: (uid,)
    assert slurm.jobs(uid=7) == (7,)  # type: ignore[comparison-overlap]
    assert slurm.jobs() == (None,)  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("errno", [1800, 5004, 2027])
def test_a_controller_that_does_not_answer(
    answers: Answers, slurm: PyslurmBackend, reports: list[str], errno: int
) -> None:
    answers["jobs"] = answers["ping"] = fails(errno, "Slurm's text")
    with pytest.raises(SlurmUnavailableError, match="jobs: FakeRpcError: Slurm's text"):
        slurm.jobs()
    assert not slurm.ping()
    assert not reports


@pytest.mark.parametrize("errno", [1005, 2002, 0])
def test_other_errors_make_the_commands_answer_from_then_on(
    answers: Answers, slurm: PyslurmBackend, reports: list[str], errno: int
) -> None:
    answers["jobs"] = fails(errno, "Incompatible versions")
    answers["nodes"] = lambda _: ("from pyslurm",)
    assert slurm.jobs(uid=7) == (*FROM_COMMANDS, 7)
    assert slurm.nodes() == FROM_COMMANDS
    assert slurm.ping()
    assert reports == [
        "pyslurm: jobs: FakeRpcError: Incompatible versions; Slurm's commands are used from now on"
    ]


@pytest.mark.parametrize("question", ["jobs", "nodes", "ping"])
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
    answers["jobs"] = lambda _: threading.Event().wait()
    answers["nodes"] = lambda _: (os.getpid(),)
    slurm = PyslurmBackend(None, None, timeout=300)
    (late,) = slurm.nodes()
    slurm._timeout = 0.2
    with pytest.raises(SlurmUnavailableError, match=r"jobs: no answer within 0.2 s"):
        slurm.jobs()
    with pytest.raises(ProcessLookupError):
        os.kill(late, 0)  # type: ignore[arg-type]
    slurm._timeout = 300
    assert slurm.nodes() not in ((late,), FROM_COMMANDS)
    slurm.close()
