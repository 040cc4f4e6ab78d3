"""Every row of the table of ends, with its category; no node is blamed without evidence."""

from typing import Any

import pytest

from slurm_restart.core.attribute_end import attribute_end
from slurm_restart.core.category import Category
from slurm_restart.core.end_facts import EndFacts
from slurm_restart.core.job import JobFlag, JobState, NodeState
from tests.unit.core import facts

NO_REPORT: dict[str, Any] = {"ended": False, "exit": None, "cause": None}


def judge(
    self_report: dict[str, Any] | None = None, named: tuple[str, ...] = (), **end: Any
) -> Any:
    comment_record = None if self_report is None else facts.comment_record(**self_report)
    known = 0 if comment_record is None else comment_record.restarts or 0
    return attribute_end(
        EndFacts(
            end=facts.end(**end), self_report=comment_record, known_restarts=known, named=named
        )
    )


CLEAN = {"exit_code": 0, "signal": 0, "reason": "None"}
AT_LIMIT = {"run_time": 3600}


@pytest.mark.parametrize(
    ("category", "end"),
    [
        # The ends differ in this on 22.05, where the base state is not shown.
        (Category.CANCELLED, CLEAN),
        (Category.PREEMPTION, CLEAN | {"preempted": True}),
        (Category.UNKNOWN, {}),
        (Category.TIMEOUT, CLEAN | {"reason": "TimeLimit"} | AT_LIMIT),
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
        (Category.TIMEOUT, CLEAN | {"state": JobState.TIMEOUT} | AT_LIMIT),
        (Category.PREEMPTION, CLEAN | {"state": JobState.PREEMPTED, "preempted": True}),
        (Category.OOM_HOST, {"state": JobState.OUT_OF_MEMORY}),
        (Category.DEADLINE, CLEAN | {"state": JobState.DEADLINE}),
        (Category.HARDWARE_NODE, CLEAN | {"state": JobState.NODE_FAIL}),
        (Category.HARDWARE_NODE, CLEAN | {"state": JobState.BOOT_FAIL}),
        (
            Category.HARDWARE_NODE,
            CLEAN | {"state": JobState.PENDING, "signal": 1, "restarts": 1, "env_restarts": 0},
        ),
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
        (Category.TIMEOUT, {"cause": Category.CODE}, CLEAN | {"reason": "TimeLimit"} | AT_LIMIT),
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
        # A stop that is only likely gives way to what Slurm shows, and stands without it.
        (
            Category.HARDWARE_NODE,
            {"cause": Category.CONFIG, "likely": True},
            {"down_nodes": facts.nodes(csx2="DOWN")[1:2]},
        ),
        (Category.CONFIG, {"cause": Category.CONFIG, "likely": True}, {}),
        # A cause without an end says nothing.
        (Category.UNKNOWN, {"cause": Category.CONFIG, "ended": False}, {}),
    ],
)
def test_the_self_report(
    category: Category, self_report: dict[str, Any], end: dict[str, Any]
) -> None:
    assert judge(self_report, **end).category is category


# What a job can know of its own end, by hand: everything that is no doing of Slurm's.
def test_a_stop_that_was_put_off_keeps_its_line_for_the_next_time() -> None:
    judged = judge(
        {"cause": Category.UNKNOWN, "rule": "config.value", "root": "0a" * 4, "put_off": True}
    )
    assert (judged.category, judged.rule) == (Category.UNKNOWN, "config.value")
    assert (judged.put_off, judged.root_hash) == (True, "0a" * 4)
    assert not judge({"cause": Category.CONFIG, "put_off": True}).recoverable


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


@pytest.mark.parametrize("searching", [True, False])
def test_an_end_for_the_search_is_believed_if_the_controller_wanted_it_and_counts(
    searching: bool,
) -> None:
    found = attribute_end(
        EndFacts(
            end=facts.end(),
            self_report=facts.comment_record(cause=Category.NODE_SEARCH, rule="r"),
            known_restarts=0,
            searching=searching,
        )
    )
    assert found.category is (Category.NODE_SEARCH if searching else Category.UNKNOWN)
    assert found.counts
    assert found.blamed == ()


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


# --- preemption ----------------------------------------------------------------------------------

OLD_PREEMPTION = CLEAN | {"state": JobState.PREEMPTED}
FINISHED = {"cause": Category.COMPLETED, "exit": 0}
AT_TIME_LIMIT = {"cause": Category.TIMEOUT}


@pytest.mark.parametrize(
    ("category", "rule", "self_report", "end"),
    [
        # On 24.11 every later end of a job that was preempted with a grace time is PREEMPTED, and
        # slurmctld records no exit status: only a PreemptTime of this attempt is believed.
        (Category.UNKNOWN, "slurm.exit_not_recorded", None, OLD_PREEMPTION),
        (Category.UNKNOWN, "slurm.exit_not_recorded", {"cause": Category.UNKNOWN}, OLD_PREEMPTION),
        (Category.CODE, "py.error", {"cause": Category.CODE, "rule": "py.error"}, OLD_PREEMPTION),
        (Category.HANG, "job.reported", {"cause": Category.HANG}, OLD_PREEMPTION),
        (Category.TIMEOUT, "job.time_limit", AT_TIME_LIMIT, OLD_PREEMPTION | {"run_time": 3500}),
        (Category.UNKNOWN, "exit.nonzero", None, OLD_PREEMPTION | {"exit_code": 1}),
        (Category.SOFTWARE_CRASH, "exit.crash", None, OLD_PREEMPTION | {"signal": 11}),
        # Nothing would change with one more attempt: it would end as PREEMPTED again.
        (Category.COMPLETED, "job.reported_completed", FINISHED, OLD_PREEMPTION),
        # A trainer that finished in its grace time: its dependents need one more attempt.
        (Category.PREEMPTION, "state.preempted", FINISHED, OLD_PREEMPTION | {"preempted": True}),
        (Category.PREEMPTION, "state.preempted", FINISHED, CLEAN | {"preempted": True}),
        # Preempted with requeue, and finished before: it is pending again already.
        (
            Category.COMPLETED,
            "job.reported_completed",
            FINISHED,
            CLEAN | {"preempted": True, "state": JobState.PENDING, "restarts": 1},
        ),
        (Category.PREEMPTION, "state.preempted", {"cause": Category.CODE}, {"preempted": True}),
    ],
)  # fmt: skip
def test_a_preemption_is_believed_only_with_a_preempt_time_of_this_attempt(
    category: Category, rule: str, self_report: dict[str, Any] | None, end: dict[str, Any]
) -> None:
    found = judge(self_report, **end)
    assert (found.category, found.rule) == (category, rule)


# --- requeues that nobody asked for --------------------------------------------------------------

AGAIN = {"state": JobState.PENDING, "reason": "BeginTime", "restarts": 1, "env_restarts": None}
BEFORE_24_11 = AGAIN | {"state": None}
STOPPED = {"rule": "supervisor.terminated", "exit": 143}


@pytest.mark.parametrize("pending", [AGAIN, BEFORE_24_11, AGAIN | {"env_restarts": 1}])
@pytest.mark.parametrize(
    ("category", "rule", "self_report", "end"),
    [
        # RequeueExit of the site: the job failed by itself and Slurm requeued it.
        (Category.UNKNOWN, "exit.nonzero", None, {}),
        (Category.SOFTWARE_CRASH, "exit.crash", None, {"exit_code": 139}),
        (Category.CONFIG, "exit.not_run", None, {"exit_code": 127}),
        (Category.UNKNOWN, "exit.nonzero", {}, {}),
        (Category.UNKNOWN, "exit.nonzero", {"cause": Category.TIMEOUT}, {"run_time": None}),
        (Category.CODE, "py.error", {"cause": Category.CODE, "rule": "py.error"}, {}),
        (Category.UNKNOWN, "exit.nonzero", STOPPED, {"exit_code": 143}),
        # A job that claims to have finished and fails is counted, or it would never end.
        (Category.UNKNOWN, "exit.nonzero", FINISHED, {}),
        # The end was lost with slurmctld's memory: only the self-report shows the failure.
        (Category.UNKNOWN, "job.failed_before_requeue", {}, {"exit_code": 0}),
        (Category.UNKNOWN, "job.failed_before_requeue", AT_TIME_LIMIT, {"exit_code": 0}),
        # A person, or a preemption, requeued a job that ran.
        (Category.REQUEUED, "state.requeued", None, {"exit_code": 0}),
        (Category.REQUEUED, "state.requeued", NO_REPORT, {"exit_code": 0}),
        (Category.REQUEUED, "state.requeued", STOPPED, {"exit_code": 0}),
        (Category.REQUEUED, "state.requeued", {"exit": 143}, {"exit_code": 0}),
        (Category.REQUEUED, "state.requeued", {"cause": Category.PREEMPTION}, {"exit_code": 0}),
        (Category.COMPLETED, "job.reported_completed", FINISHED, {"exit_code": 0}),
        (Category.PREEMPTION, "state.preempted", {}, {"preempted": True}),
    ],
)  # fmt: skip
def test_a_requeue_after_a_failure_is_the_failure(
    category: Category,
    rule: str,
    self_report: dict[str, Any] | None,
    end: dict[str, Any],
    pending: dict[str, Any],
) -> None:
    found = judge(self_report, **pending | end)
    assert (found.category, found.rule) == (category, rule)
    assert found.requeued


DOWN = facts.nodes(csx2="DOWN")[1:2]


@pytest.mark.parametrize(
    ("category", "end"),
    [
        # NODE_FAIL found by a sweep: the job waits, and no hook has seen the end.
        (Category.HARDWARE_NODE, {"down_nodes": DOWN}),
        (Category.HARDWARE_NODE, {"down_nodes": DOWN, "signal": 1}),
        (Category.REQUEUED, {}),
        (Category.REQUEUED, {"down_nodes": DOWN, "nodes": ("csx1",)}),
        (Category.REQUEUED, {"down_nodes": DOWN, "nodes": ()}),
        # A hook saw it as requeued by a person, who may have done it because of the node.
        (Category.REQUEUED, {"down_nodes": DOWN, "env_restarts": 1}),
        # Failed by itself, and requeued by this plugin before the end was judged.
        (Category.UNKNOWN, {"env_restarts": 0, "exit_code": 1}),
        (Category.HARDWARE_NODE, {"env_restarts": 0}),
        # Requeued by another node, as Slurm had kept it without its batch host.
        (Category.HARDWARE_NODE, {"down_nodes": DOWN, "env_restarts": 1, "host_lost": True}),
        (Category.HARDWARE_NODE, {"env_restarts": 1, "host_lost": True}),
    ],
)
@pytest.mark.parametrize("pending", [AGAIN, BEFORE_24_11])
def test_a_node_failure_is_found_after_the_requeue(
    category: Category, end: dict[str, Any], pending: dict[str, Any]
) -> None:
    found = judge(None, **pending | {"exit_code": 0} | end)
    assert found.category is category
    blamed = ["csx2"] if category is Category.HARDWARE_NODE and "down_nodes" in end else []
    assert [one.node for one in found.blamed] == blamed


# --- holds and limits that are Slurm's own -------------------------------------------------------


@pytest.mark.parametrize(
    "reason",
    [
        "JobHoldMaxRequeue",
        "launch_failure_limit_exceeded_requeued_held",
        "JobHeldMaxNodeFailRequeue",
        "node_failure_requeue_limit_exceeded",
        "JobHeldMaxPreemptRequeue",
        "preemption_requeue_limit_exceeded",
        "user_env_retrieval_failed_requeued_held",
    ],
)
def test_slurms_own_protective_hold_is_no_persons(reason: str) -> None:
    held = AGAIN | {"exit_code": 0, "reason": reason, "flags": {JobFlag.REQUEUE_HOLD}}
    found = judge(None, **held)
    assert (found.category, found.rule) == (Category.HELD_BY_SLURM, "slurm.protective_hold")


@pytest.mark.parametrize(
    "held",
    [
        {"reason": "job_requeued_in_special_exit_state"},
        {"reason": "JobHeldUser", "flags": {JobFlag.SPECIAL_EXIT}},  # RequeueExitHold
    ],
)
def test_a_special_exit_is_held(held: dict[str, Any]) -> None:
    assert judge(None, **AGAIN | held).category is Category.HELD


@pytest.mark.parametrize("reason", ["launch_failed_requeued_held", "JobHoldMaxRequeue"])
def test_a_held_job_that_was_cancelled_is_not_held(reason: str) -> None:
    found = judge(None, exit_code=0, state=JobState.CANCELLED, reason=reason)
    assert found.category is Category.CANCELLED


@pytest.mark.parametrize("pending", [AGAIN, BEFORE_24_11])
def test_a_failed_prolog_that_does_not_hold_the_job_is_the_nodes_fault(
    pending: dict[str, Any],
) -> None:
    bad = (NodeState(name="csx2", state="IDLE", reason="Prolog error", flags=frozenset({"DRAIN"})),)
    found = judge(None, **pending | {"exit_code": 0, "signal": 54, "down_nodes": bad})
    assert (found.category, found.rule) == (Category.HARDWARE_NODE, "slurm.prolog_drained")
    assert [one.node for one in found.blamed] == ["csx2"]
    running = judge(NO_REPORT, **pending | {"exit_code": 0, "down_nodes": bad, "env_restarts": 1})
    assert running.category is Category.REQUEUED


TIMED_OUT = CLEAN | {"state": JobState.TIMEOUT, "reason": "TimeLimit"}


@pytest.mark.parametrize(
    ("category", "end"),
    [
        # The limit is 3600 s; slurmctld ends no job before it.
        (Category.TIMEOUT, {"run_time": 3601}),
        (Category.TIMEOUT, {"run_time": 3540}),
        (Category.USAGE_LIMIT, {"run_time": 3539}),
        (Category.USAGE_LIMIT, {"run_time": 0}),
        (Category.USAGE_LIMIT, {"run_time": 600, "time_limit": None}),
        (Category.TIMEOUT, {"run_time": None}),
        (Category.TIMEOUT, {"run_time": None, "time_limit": None}),
        (Category.RESERVATION_ENDED, {"run_time": 600, "reserved": True}),
        (Category.TIMEOUT, {"run_time": 3600, "reserved": True}),
        (Category.PREEMPTION, {"run_time": 600, "preempted": True}),
    ],
)
@pytest.mark.parametrize("shown", [{}, {"state": None}])
def test_a_timeout_long_before_the_limit_is_another_limit(
    category: Category, end: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert judge(None, **TIMED_OUT | shown | end).category is category
    assert judge({"cause": Category.HANG}, **TIMED_OUT | shown | end).category is category


@pytest.mark.parametrize("reserved", [False, True])
def test_a_run_that_finished_at_a_usage_limit_gets_its_dependents(reserved: bool) -> None:
    found = judge(FINISHED, **TIMED_OUT | {"run_time": 600, "reserved": reserved})
    assert found.category is Category.TIMEOUT


NODE_LEFT = {"cause": Category.HEALTH_CHECK, "rule": "supervisor.health_check", "exit": 75}


@pytest.mark.parametrize(
    ("named", "said", "category", "evidence"),
    [
        (("csx2",), "command:_no_/data", Category.HEALTH_CHECK, "health check: command: no /data"),
        (("csx2",), None, Category.HEALTH_CHECK, "health check"),
        (("csx2", "other"), None, Category.HEALTH_CHECK, "health check"),
        ((), None, Category.UNKNOWN, None),
        (("other",), None, Category.UNKNOWN, None),
    ],
)
def test_a_health_check_is_believed_if_it_costs_the_run_a_node_of_its_own(
    named: tuple[str, ...], said: str | None, category: Category, evidence: str | None
) -> None:
    found = judge(NODE_LEFT | {"said": said}, named, exit_code=75)
    assert found.category is category
    assert [(blame.node, blame.evidence) for blame in found.blamed] == (
        [] if evidence is None else [("csx2", evidence)]
    )


def test_what_a_health_check_found_is_told_of_the_node_on_which_it_was_found() -> None:
    found = judge(NODE_LEFT | {"said": "disk:_full"}, ("csx2", "csx3"), exit_code=75)
    assert [(blame.node, blame.evidence) for blame in found.blamed] == [
        ("csx2", "health check: disk: full"),
        ("csx3", "health check: see run.log"),
    ]


def test_a_node_that_is_down_changes_no_report_of_the_health_check() -> None:
    down = NodeState(name="csx2", state="DOWN", reason="Not responding")
    found = judge(NODE_LEFT, ("csx2",), exit_code=75, down_nodes=(down,))
    assert found.category is Category.HEALTH_CHECK
    assert [blame.evidence for blame in found.blamed] == ["Slurm: DOWN Not responding"]


@pytest.mark.parametrize("drained", [True, False])
def test_that_a_node_is_drained_is_believed_if_slurm_shows_it(drained: bool) -> None:
    found = judge({"cause": Category.NODE_DRAINED, "exit": 143}, exit_code=143, drained=drained)
    assert found.category is (Category.NODE_DRAINED if drained else Category.UNKNOWN)
    assert found.blamed == ()
