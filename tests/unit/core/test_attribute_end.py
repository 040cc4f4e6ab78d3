"""Every row of the table of ends, with its category; no node is blamed without evidence."""

from typing import Any

import pytest

from slurm_restart.core.attribute_end import attribute_end
from slurm_restart.core.category import Category
from slurm_restart.core.end_rules import EndFacts
from slurm_restart.core.job import JobFlag, JobState
from tests.unit.core import facts

NO_REPORT: dict[str, Any] = {"ended": False, "exit": None, "cause": None}


def judge(
    self_report: dict[str, Any] | None = None, named: tuple[str, ...] = (), **end: Any
) -> Any:
    comment_record = None if self_report is None else facts.comment_record(**self_report)
    known = 0 if comment_record is None else comment_record.restarts or 0
    return attribute_end(
        EndFacts(end=facts.end(**end), self_report=comment_record, known_restarts=known), named
    )


CLEAN = {"exit_code": 0, "signal": 0, "reason": "None"}


@pytest.mark.parametrize(
    ("category", "end"),
    [
        # The ends differ in this on 22.05, where the base state is not shown.
        (Category.CANCELLED, CLEAN),
        (Category.PREEMPTION, CLEAN | {"preempted": True}),
        (Category.UNKNOWN, {}),
        (Category.TIMEOUT, CLEAN | {"reason": "TimeLimit"}),
        (Category.HARDWARE_NODE, CLEAN | {"reason": "NodeDown"}),
        (Category.HARDWARE_NODE, CLEAN | {"restarts": 1, "env_restarts": 0}),
        (Category.REQUEUED, CLEAN | {"restarts": 1, "env_restarts": 1}),
        (Category.UNKNOWN, {"exit_code": 0, "signal": 1, "restarts": 1, "env_restarts": 1}),
        (
            Category.PROLOG_FAILED,
            CLEAN | {"reason": "launch_failed_requeued_held", "restarts": 1, "env_restarts": 1},
        ),
        (Category.HELD, CLEAN | {"reason": "job_requeued_in_held_state", "restarts": 1}),
        (Category.SOFTWARE_CRASH, {"exit_code": 0, "signal": 11, "reason": "JobLaunchFailure"}),
        (Category.UNKNOWN, {"exit_code": 0, "signal": 9, "reason": "JobLaunchFailure"}),
        (Category.UNKNOWN, {"exit_code": 137}),
        (Category.SOFTWARE_CRASH, {"exit_code": 139}),
        (Category.DEADLINE, CLEAN | {"reason": "DeadLine"}),
        (Category.USAGE_LIMIT, CLEAN | {"reason": "AssocGrpCPUMinutesLimit"}),
        (Category.USAGE_LIMIT, CLEAN | {"reason": "QOSMaxWallDurationPerJobLimit"}),
        (Category.RESERVATION_ENDED, CLEAN | {"reason": "ReservationDeleted"}),
        (Category.RESERVATION_ENDED, CLEAN | {"flags": {JobFlag.RESV_DEL_HOLD}}),
        (Category.HELD, CLEAN | {"reason": "JobHeldUser", "restarts": 1}),
        (Category.HELD, CLEAN | {"reason": "JobHeldAdmin", "restarts": 1}),
        (Category.OOM_HOST, {"exit_code": 0, "signal": 9, "reason": "OutOfMemory"}),
        (Category.UNKNOWN, {"exit_code": 0, "signal": 15, "reason": "JobLaunchFailure"}),
        (Category.SOFTWARE_CRASH, {"exit_code": 0, "signal": 6, "reason": "JobLaunchFailure"}),
        (Category.SOFTWARE_CRASH, {"exit_code": 134}),
        # Slurm's own requeue of a failed node prolog, which 22.05 shows with exit 0:54 as well.
        (
            Category.PROLOG_FAILED,
            {"exit_code": 0, "signal": 54, "reason": "launch_failed_requeued_held", "restarts": 1},
        ),
        # --no-requeue: the same node failure as 22.05 and later releases put it.
        (Category.HARDWARE_NODE, {"exit_code": 0, "signal": 1, "reason": "NodeDown"}),
        # Found pending by a sweep: the reason is the one for which it waits, not the end's.
        (
            Category.REQUEUED,
            CLEAN | {"state": JobState.PENDING, "env_restarts": None, "reason": "QOSGrpNodeLimit"},
        ),
        # From 24.11 the base state is there.
        (Category.COMPLETED, CLEAN | {"state": JobState.COMPLETED}),
        (Category.CANCELLED, CLEAN | {"state": JobState.CANCELLED}),
        (Category.TIMEOUT, CLEAN | {"state": JobState.TIMEOUT}),
        (Category.PREEMPTION, CLEAN | {"state": JobState.PREEMPTED}),
        (Category.OOM_HOST, {"state": JobState.OUT_OF_MEMORY}),
        (Category.DEADLINE, CLEAN | {"state": JobState.DEADLINE}),
        (Category.HARDWARE_NODE, CLEAN | {"state": JobState.NODE_FAIL}),
        (Category.HARDWARE_NODE, CLEAN | {"state": JobState.BOOT_FAIL}),
        (Category.HARDWARE_NODE, {"state": JobState.PENDING, "signal": 1, "restarts": 1}),
        (Category.REQUEUED, CLEAN | {"state": JobState.PENDING, "env_restarts": 1, "restarts": 1}),
        (Category.HELD, CLEAN | {"state": JobState.PENDING, "flags": {JobFlag.REQUEUE_HOLD}}),
    ],
)
def test_slurms_facts_alone(category: Category, end: dict[str, Any]) -> None:
    assert judge(None, **end).category is category


@pytest.mark.parametrize(
    ("category", "self_report", "end"),
    [
        (Category.COMPLETED, {"cause": Category.COMPLETED, "exit": 0}, CLEAN),
        (Category.CONFIG, {"cause": Category.CONFIG}, {}),
        (Category.NETWORK_FABRIC, {"cause": Category.NETWORK_FABRIC}, {}),
        # Slurm's facts stand above the self-report.
        (Category.TIMEOUT, {"cause": Category.CODE}, CLEAN | {"reason": "TimeLimit"}),
        (
            Category.HARDWARE_NODE,
            {"cause": Category.NETWORK_FABRIC},
            CLEAN | {"restarts": 1, "env_restarts": 0},
        ),
        # A lost slurmstepd hides how the trainer had ended; its self-report shows it.
        (
            Category.CONFIG,
            {"cause": Category.CONFIG},
            {"exit_code": 0, "signal": 1, "restarts": 1, "env_restarts": 1},
        ),
        (
            Category.COMPLETED,
            {"cause": Category.COMPLETED, "exit": 0},
            {"exit_code": 0, "signal": 1, "restarts": 1, "env_restarts": 1},
        ),
        # `timeout` is believed only near the limit.
        (Category.TIMEOUT, {"cause": Category.TIMEOUT}, {"run_time": 3500}),
        (Category.UNKNOWN, {"cause": Category.TIMEOUT}, {"run_time": 600}),
        # A finished run that fails all the same is restarted, and ends as success at once.
        (Category.UNKNOWN, {"cause": Category.COMPLETED, "exit": 0}, {"exit_code": 137}),
        # scancel of a trainer that is failing: the hook's environment says 0:0.
        (Category.CANCELLED, {"cause": Category.SOFTWARE_CRASH}, CLEAN),
        (Category.TIMEOUT, {"cause": Category.COMPLETED}, {"state": JobState.TIMEOUT}),
        # Slurm's time limit came first: one more attempt, so that dependents are kept.
        (
            Category.TIMEOUT,
            {"cause": Category.COMPLETED, "exit": 0},
            CLEAN | {"reason": "TimeLimit"},
        ),
        # A down node explains more than what the job could see of it, but not a wrong config.
        (
            Category.HARDWARE_NODE,
            {"cause": Category.NETWORK_FABRIC},
            {"down_nodes": facts.nodes(csx2="DOWN")[1:2]},
        ),
        (
            Category.CONFIG,
            {"cause": Category.CONFIG},
            {"down_nodes": facts.nodes(csx2="DOWN")[1:2]},
        ),
        # A cause without an end says nothing.
        (Category.UNKNOWN, {"cause": Category.CONFIG, "ended": False}, {}),
    ],
)
def test_the_self_report(
    category: Category, self_report: dict[str, Any], end: dict[str, Any]
) -> None:
    assert judge(self_report, **end).category is category


# What a job can know of its own end, by hand: everything that is no doing of Slurm's.
BELIEVED = {
    "cancelled", "deadline", "usage_limit",
    "compile", "config", "code", "auth", "storage.full", "memory.device_oom",
    "hardware.accelerator", "hardware.node", "network.fabric", "network.rendezvous", "storage.io",
    "dependency.service", "software.crash", "data.corrupt", "numeric.nan", "hang", "oom_host",
    "checkpoint.corrupt",
}  # fmt: skip


@pytest.mark.parametrize("cause", Category)
def test_a_forged_cause_neither_escapes_the_counters_nor_releases_a_job(cause: Category) -> None:
    believed = cause.value in BELIEVED
    found = judge({"cause": cause, "rule": "r", "root": "0" * 8})
    assert found.category is (cause if believed else Category.UNKNOWN)
    assert found.rule == ("r" if believed else "exit.nonzero")
    assert found.root_hash == ("0" * 8 if believed else None)


@pytest.mark.parametrize("cause", [Category.PREEMPTION, Category.PROLOG_FAILED, Category.HELD])
def test_nor_does_it_where_slurm_has_requeued_the_job(cause: Category) -> None:
    found = judge({"cause": cause}, exit_code=0, signal=1, restarts=1, env_restarts=1)
    assert found.category is Category.UNKNOWN


def test_a_node_that_slurm_shows_down_is_blamed_with_the_evidence() -> None:
    down = facts.nodes(csx2="DOWN")
    found = judge(NO_REPORT, restarts=1, env_restarts=0, exit_code=0, down_nodes=down[1:2])
    assert [(one.node, one.evidence) for one in found.blamed] == [("csx2", "Slurm: DOWN")]


def test_names_outside_the_jobs_nodes_are_reported_and_not_blamed() -> None:
    self_report = {"cause": Category.HARDWARE_ACCELERATOR, "rule": "xid"}
    found = judge(self_report, named=("csx1", "csx9", "cs3-07"))
    assert [one.node for one in found.blamed] == ["csx1"]
    assert found.reported == ("csx9", "cs3-07")


@pytest.mark.parametrize("category", [Category.OOM_HOST, Category.TIMEOUT, Category.CONFIG])
def test_no_node_is_blamed_for_what_is_no_nodes_fault(category: Category) -> None:
    assert judge({"cause": category}, named=("csx1",), run_time=3500).blamed == ()


def test_a_down_node_explains_an_exit_without_a_cause() -> None:
    found = judge(None, down_nodes=facts.nodes(csx3="DOWN")[2:3])
    assert (found.category, [one.node for one in found.blamed]) == (
        Category.HARDWARE_NODE,
        ["csx3"],
    )
