"""The child that pyslurm runs in: its errors, its death, and its deadline."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slurm_restart.errors import JobNotFoundError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm import rpc_facts
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.rpc import Rpc


class FakeRpcError(Exception):
    """As pyslurm's RPCError."""

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(text)
        self.errno = errno


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Any], Any]]:
    """What the child does for each question; it is forked with these."""
    table: dict[str, Callable[[Any], Any]] = {"cluster_name": lambda _: "alps"}
    monkeypatch.setattr(rpc_facts, "ask", lambda question, argument: table[question](argument))
    return table


@pytest.fixture
def slurm(answers: dict[str, Callable[[Any], Any]]) -> Iterator[Rpc]:
    assert answers
    backend = Rpc(Commands(), "/etc/slurm.conf", timeout=1)
    yield backend
    backend.close()


def fails(errno: int, text: str) -> Callable[[Any], Any]:
    def fail(_: object) -> None:
        raise FakeRpcError(errno, text)

    return fail


def test_it_answers_from_one_child(answers: dict[str, Callable[[Any], Any]], slurm: Rpc) -> None:
    answers["nodes"] = lambda _: (os.getpid(), os.environ["SLURM_CONF"])
    first: Any = slurm.nodes()
    assert first == slurm.nodes()
    assert first[0] != os.getpid()
    assert first[1] == "/etc/slurm.conf"


@pytest.mark.parametrize(
    ("errno", "kind"),
    [
        (2017, JobNotFoundError),
        (1800, SlurmUnavailableError),
        (5004, SlurmUnavailableError),
        (2002, SlurmError),
    ],
)
def test_errors(
    answers: dict[str, Callable[[Any], Any]], slurm: Rpc, errno: int, kind: type[SlurmError]
) -> None:
    answers["hold"] = fails(errno, "Slurm's words")
    with pytest.raises(SlurmError, match=r"^hold 7: Slurm's words$") as caught:
        slurm.hold(7)
    assert type(caught.value) is kind
    assert slurm.cluster_name() == "alps"


def test_requeue_of_a_pending_job_is_no_error(
    answers: dict[str, Callable[[Any], Any]], slurm: Rpc
) -> None:
    answers["requeue"] = fails(2024, "Job is pending execution")
    slurm.requeue(7)


def test_a_late_child_is_killed_and_replaced(
    answers: dict[str, Callable[[Any], Any]], slurm: Rpc
) -> None:
    answers["ping"] = lambda _: time.sleep(60)
    before = time.monotonic()
    assert not slurm.ping()
    assert time.monotonic() - before < 5
    assert slurm.cluster_name() == "alps"


def test_a_crashed_child_is_replaced(answers: dict[str, Callable[[Any], Any]], slurm: Rpc) -> None:
    answers["hold"] = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    with pytest.raises(SlurmError, match="crashed"):
        slurm.hold(7)
    assert slurm.cluster_name() == "alps"


def test_whatever_goes_wrong_is_told(answers: dict[str, Callable[[Any], Any]], slurm: Rpc) -> None:
    answers["jobs"] = lambda _: {}["nothing"]
    with pytest.raises(SlurmError, match="nothing"):
        slurm.jobs()
