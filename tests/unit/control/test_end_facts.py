"""An end is put together from the hook's environment, the job record and the comment record."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_restart.control import end_facts
from slurm_restart.control.end_facts import (
    await_failed_prolog,
    end_from_hook,
    end_from_record,
    named_nodes,
    reserved_nodes,
    run_key,
)
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.core.job import JobFlag, JobState, NodeState
from slurm_restart.core.job_comment import MAX_NAMED
from slurm_restart.errors import CsxError, SlurmUnavailableError
from tests.unit.control.conftest import FakeSlurm, run_key_of
from tests.unit.core import facts

ENV = HookEnvironment(
    cluster="c",
    job_id=7,
    uid=1000,
    comment="",
    exit_code=3,
    signal=9,
    restarts=2,
    nodelist="csx[1-3]",
)
RECORD = facts.job(
    state=JobState.FAILED,
    exit_code=1,
    signal=0,
    reason="NonZeroExitCode",
    restarts=4,
    preempt_time=5,
    nodes=("csx1",),
    time_limit=60,
    run_time=30,
)


def test_the_hooks_environment_overrides_the_record() -> None:
    end = end_from_hook(ENV, RECORD, facts.nodes())
    assert (end.exit_code, end.signal, end.env_restarts) == (3, 9, 2)
    assert end.nodes == ("csx1", "csx2", "csx3")


def test_the_rest_of_an_end_is_the_records() -> None:
    end = end_from_hook(ENV, RECORD, facts.nodes())
    assert (end.cluster, end.job_id, end.uid, end.submit_time) == ("c", 7, 1000, facts.SUBMITTED)
    assert (end.state, end.reason, end.restarts) == (JobState.FAILED, "NonZeroExitCode", 4)
    assert (end.preempted, end.time_limit, end.run_time) == (True, 60, 30)


@pytest.mark.parametrize(
    ("shown", "lost"),
    [
        ({"batch_host": "csx4"}, True),
        ({"batch_host": "csx1"}, False),
        ({"batch_host": None}, False),
        # In its next attempt already, whose batch host this is.
        ({"batch_host": "csx4", "flags": frozenset()}, False),
    ],
)
def test_a_batch_host_that_is_not_in_the_hooks_list_had_been_lost(
    shown: dict[str, Any], lost: bool
) -> None:
    flags = frozenset({JobFlag.COMPLETING})
    record = replace(RECORD, **{"state": JobState.PENDING, "flags": flags} | shown)
    end = end_from_hook(ENV, record, facts.nodes(csx4="DOWN"))
    assert end.host_lost is lost


def test_without_a_list_no_batch_host_is_missing() -> None:
    record = replace(RECORD, flags=frozenset({JobFlag.COMPLETING}), batch_host="csx4")
    assert not end_from_hook(replace(ENV, nodelist=""), record, facts.nodes()).host_lost


def test_an_end_without_a_submit_time_is_an_error() -> None:
    with pytest.raises(CsxError, match="job 7: Slurm shows no SubmitTime"):
        end_from_hook(ENV, replace(RECORD, submit_time=None), ())


def test_an_end_from_the_record_alone() -> None:
    end = end_from_record("c", RECORD, facts.nodes(), submit_time=5)
    assert (end.submit_time, end.exit_code, end.env_restarts) == (5, 1, None)
    assert end.nodes == ("csx1",)
    assert end_from_record("c", facts.job(), (), submit_time=5).preempted is False


@pytest.mark.parametrize(
    ("preempt_time", "start_time", "state", "preempted"),
    [
        (None, 100, JobState.PREEMPTED, False),  # 24.11: an old flag, PreemptTime=None
        (99, 100, JobState.PREEMPTED, False),
        (100, 100, JobState.PREEMPTED, True),
        (150, 100, JobState.PREEMPTED, True),
        (150, 100, None, True),
        (150, None, None, True),
        # A pending job's start time is an expected one.
        (150, 200, JobState.PENDING, True),
        (None, None, JobState.PENDING, False),
    ],
)
def test_a_preemption_is_one_of_this_attempt(
    preempt_time: int | None, start_time: int | None, state: JobState | None, *, preempted: bool
) -> None:
    job = replace(RECORD, preempt_time=preempt_time, start_time=start_time, state=state)
    assert end_from_hook(ENV, job, ()).preempted is preempted
    assert end_from_record("c", job, (), submit_time=5).preempted is preempted


@pytest.mark.parametrize(("reservation", "reserved"), [(None, False), ("weekend", True)])
def test_an_end_shows_whether_the_job_ran_in_a_reservation(
    reservation: str | None, *, reserved: bool
) -> None:
    job = replace(RECORD, reservation=reservation)
    assert end_from_hook(ENV, job, ()).reserved is reserved


def test_the_nodes_of_a_job_that_is_pending_again_are_given() -> None:
    waiting = facts.pending(restarts=1)
    down = facts.nodes(csx2="DOWN")
    known = ("csx1", "csx2")
    end = end_from_record("c", waiting, down, submit_time=5, known_nodes=known)
    assert (end.nodes, [node.name for node in end.down_nodes]) == (known, ["csx2"])
    own = end_from_record("c", RECORD, down, submit_time=5, known_nodes=known)
    assert own.nodes == ("csx1",)
    assert end_from_record("c", waiting, down, submit_time=5).nodes == ()


def test_down_nodes_are_those_of_the_job() -> None:
    nodes = (
        *facts.nodes(csx1="DOWN", csx2="IDLE+DRAIN", csx4="DOWN"),
        NodeState(name="csx9", state="IDLE", reason="Prolog error"),
    )
    assert [node.name for node in end_from_hook(ENV, RECORD, nodes).down_nodes] == ["csx1"]


@pytest.mark.parametrize(
    ("states", "drained"),
    [
        ({"csx2": "ALLOCATED+DRAIN"}, True),
        ({"csx2": "MIXED+FAIL"}, True),
        ({"csx4": "IDLE+DRAIN"}, False),
        ({"csx2": "DOWN"}, False),
    ],
)
def test_whether_a_node_of_the_job_is_drained(states: dict[str, str], drained: bool) -> None:
    assert end_from_hook(ENV, RECORD, facts.nodes(**states)).drained is drained
    waiting = end_from_record(
        "c", facts.pending(), facts.nodes(**states), submit_time=5, known_nodes=("csx1", "csx2")
    )
    assert waiting.drained is drained


def test_a_node_whose_prolog_failed_counts_as_down() -> None:
    nodes = (NodeState(name="csx2", state="IDLE", reason="Prolog error [slurm@now]"),)
    assert end_from_hook(ENV, RECORD, nodes).down_nodes == nodes


@pytest.mark.parametrize(
    ("hostlist", "names"),
    [
        (None, ()),
        ("csx[1-2],other", ("csx1", "csx2", "other")),
        ("csx[1-", ()),
        ("csx[1-999999]", ()),
        (f"csx[1-{MAX_NAMED + 1}]", ()),
    ],
)
def test_named_nodes_are_few_and_valid_or_none(
    hostlist: str | None, names: tuple[str, ...]
) -> None:
    assert named_nodes(facts.comment_record(nodes=hostlist)) == names


def test_as_many_nodes_as_allowed_are_named() -> None:
    assert len(named_nodes(facts.comment_record(nodes=f"csx[1-{MAX_NAMED}]"))) == MAX_NAMED


def test_the_nodes_of_a_reservation() -> None:
    slurm = FakeSlurm()
    slurm.reservations["weekend"] = ("csx1",)
    assert reserved_nodes(slurm, facts.job()) is None
    assert reserved_nodes(slurm, facts.job(reservation="weekend")) == ("csx1",)
    assert reserved_nodes(slurm, facts.job(reservation="deleted")) == ()


def test_a_controller_that_does_not_answer_is_no_deleted_reservation() -> None:
    class Silent(FakeSlurm):
        def reservation_nodes(self, name: str) -> tuple[str, ...]:
            raise SlurmUnavailableError(f"reservation {name}: no answer")

    with pytest.raises(SlurmUnavailableError):
        reserved_nodes(Silent(), facts.job(reservation="weekend"))


def test_the_uid_of_a_run_is_slurms() -> None:
    assert run_key("c", facts.job(uid=5), facts.comment_record()) == run_key_of(uid=5)


def test_a_node_stands_in_place_of_its_cs_system() -> None:
    record = facts.comment_record(nodes="cs3-07,csx1,cs3-08")
    systems = {"cs3-07": "csx2", "cs3-09": "csx3"}
    assert named_nodes(record, systems) == ("csx2", "csx1", "cs3-08")
    assert named_nodes(facts.comment_record(nodes="cs3-07,csx2"), systems) == ("csx2",)


# --- a failed prolog -----------------------------------------------------------------------------


def drained(name: str) -> tuple[NodeState, ...]:
    reason = "Prolog error [slurm@2026-03-01T10:00:00]"
    nodes = facts.nodes(**{name: "IDLE+DRAIN"})
    return tuple(replace(node, reason=reason) if node.name == name else node for node in nodes)


def test_the_node_whose_prolog_failed_is_awaited() -> None:
    """slurmctld holds the job before it drains the node."""
    reads = iter([facts.nodes(), drained("csx4"), drained("csx2")])
    assert await_failed_prolog(ENV, facts.nodes(), lambda: next(reads)) == drained("csx2")
    assert list(reads) == []


def test_no_node_is_awaited_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_facts, "PROLOG_NODE_WAIT", 0.3)
    reads: list[int] = []

    def read() -> tuple[NodeState, ...]:
        reads.append(1)
        return facts.nodes()

    assert await_failed_prolog(ENV, facts.nodes(), read) == facts.nodes()
    assert reads


def test_nothing_is_awaited_where_the_node_is_shown() -> None:
    def read() -> tuple[NodeState, ...]:
        raise AssertionError("the nodes were read again")

    assert await_failed_prolog(ENV, drained("csx1"), read) == drained("csx1")
