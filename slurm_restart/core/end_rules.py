"""The ordered rules that give an end its category: Slurm's facts, then the self-report."""

from collections.abc import Callable
from dataclasses import dataclass

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.end_facts import EndFacts
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.slurm_state import (
    COMMAND_NOT_RUN,
    CRASH,
    NONZERO,
    STATE_CAUSES,
    Cause,
)


@dataclass(frozen=True)
class EndRule:
    """One row of the table of ends: applies to an end for which `when` holds."""

    id: str
    category: Category
    confidence: Confidence
    when: Callable[[EndFacts], bool]


_CERTAIN, _LIKELY, _GUESS = Confidence.CERTAIN, Confidence.LIKELY, Confidence.GUESS
PROLOG_REASON = "launch_failed_requeued_held"
PROLOG_DRAINED = "slurm.prolog_drained"
"""Rule of an attempt whose prolog failed where Slurm does not hold the job for it."""
NO_REPORT = "slurm.no_report"
"""Rule of a clean exit without a report, which is taken for a cancellation."""
_HELD_REASONS = frozenset(
    {
        "job_requeued_in_held_state",
        "job_requeued_in_special_exit_state",
        "JobHeldUser",
        "JobHeldAdmin",
    }
)
_HELD_FLAGS = frozenset({JobFlag.REQUEUE_HOLD, JobFlag.SPECIAL_EXIT})
_PROTECTIVE_HOLDS = frozenset(
    {
        "JobHoldMaxRequeue",
        "JobHeldMaxNodeFailRequeue",
        "JobHeldMaxPreemptRequeue",
        "launch_failure_limit_exceeded_requeued_held",
        "node_failure_requeue_limit_exceeded",
        "preemption_requeue_limit_exceeded",
        "user_env_retrieval_failed_requeued_held",
    }
)
"""Reasons of a hold that slurmctld itself has set, other than for a failed prolog.

Names and texts of src/common/job_state_reason.c and src/slurmctld/job_mgr.c; squeue shows the text
where there is one. Those of MaxNodeFailRequeue and MaxPreemptRequeue are proposed for 26.11.
"""


def _rule(cause: Cause, when: Callable[[EndFacts], bool]) -> EndRule:
    return EndRule(cause.rule, cause.category, cause.confidence, when)


def _state(state: JobState, or_when: Callable[[EndFacts], bool] = lambda _: False) -> EndRule:
    """Return the rule of a base state; `or_when` recognises it where Slurm shows no base state."""
    return _rule(STATE_CAUSES[state], lambda f: f.end.state is state or or_when(f))


def _exit(cause: Cause) -> EndRule:
    return _rule(cause, lambda facts: facts.exit_cause is cause)


def _reason(*names: str) -> Callable[[EndFacts], bool]:
    return lambda facts: facts.end.reason in names


def _is_held(facts: EndFacts) -> bool:
    # A held job that is cancelled keeps its reason.
    held = facts.end.reason in _HELD_REASONS or bool(facts.end.flags & _HELD_FLAGS)
    return held and not facts.final


def _reached_usage_limit(facts: EndFacts) -> bool:
    # Reasons of associations and QOS: AssocGrpCPUMinutesLimit, QOSMaxWallDuration…Limit (squeue).
    # A job that is pending again shows with such a reason only why it waits.
    reason = facts.end.reason
    return reason.startswith(("Assoc", "QOS")) and reason.endswith("Limit") and not facts.requeued


def _finished(facts: EndFacts) -> bool:
    # A trainer that has finished, perhaps in its grace time, stays finished whatever becomes of
    # its nodes. Where Slurm calls the end a TIMEOUT or PREEMPTED all the same (measured), its
    # dependents would be lost: one more attempt ends as success at once.
    if facts.requeued:
        return facts.reports_completion and not facts.exit_failed
    if facts.timed_out or facts.end.preempted:
        return False
    return facts.reports_completion and (facts.clean_exit or facts.exit_not_recorded)


def _timed_out_early(facts: EndFacts) -> bool:
    return facts.timed_out_early and not facts.reports_completion


def _prolog_drained(facts: EndFacts) -> bool:
    # SchedulerParameters=nohold_on_prolog_fail: requeued as for a held job, but not held.
    return facts.requeued and facts.self_report is None and facts.prolog_failed


def _reports_cause_before_requeue(facts: EndFacts) -> bool:
    known = facts.cause not in (
        None,
        Category.UNKNOWN,
        Category.TIMEOUT,
        Category.COMPLETED,
    )
    return facts.requeued and known


def _reports_fatal_cause(facts: EndFacts) -> bool:
    # A finished run that then fails is not fatal: its next attempt ends as success at once.
    cause = facts.cause
    return cause not in (None, Category.COMPLETED) and not cause.recoverable


def _is_likely(facts: EndFacts) -> bool:
    return facts.final_report is not None and facts.final_report.likely


def _reports_put_off(facts: EndFacts) -> bool:
    return facts.final_report is not None and facts.final_report.put_off


def _reports_cause(facts: EndFacts) -> bool:
    known = facts.cause not in (None, Category.TIMEOUT, Category.UNKNOWN, Category.COMPLETED)
    return known or _reports_put_off(facts)


# First match wins. Slurm's own facts stand above the self-report; the last row matches every end
# that no other row matches, and gives no action.
_END_RULES: tuple[EndRule, ...] = (
    EndRule(
        "slurm.prolog_failed",
        Category.PROLOG_FAILED,
        _CERTAIN,
        lambda f: f.end.reason == PROLOG_REASON and not f.final,
    ),
    EndRule(
        "slurm.protective_hold",
        Category.HELD_BY_SLURM,
        _CERTAIN,
        lambda f: f.end.reason in _PROTECTIVE_HOLDS and not f.final,
    ),
    _rule(STATE_CAUSES[JobFlag.REQUEUE_HOLD], _is_held),
    _state(JobState.DEADLINE, _reason("DeadLine")),
    EndRule("slurm.usage_limit", Category.USAGE_LIMIT, _CERTAIN, _reached_usage_limit),
    _rule(
        STATE_CAUSES[JobFlag.RESV_DEL_HOLD],
        lambda f: JobFlag.RESV_DEL_HOLD in f.end.flags or f.end.reason == "ReservationDeleted",
    ),
    EndRule("job.reported_completed", Category.COMPLETED, _CERTAIN, _finished),
    # On 24.11 the base state PREEMPTED comes back at every later end of a job that was preempted
    # with a grace time once (measured): only a PreemptTime shows a preemption.
    _rule(STATE_CAUSES[JobState.PREEMPTED], lambda f: f.end.preempted),
    EndRule(PROLOG_DRAINED, Category.HARDWARE_NODE, _LIKELY, _prolog_drained),
    _state(JobState.NODE_FAIL, lambda f: f.node_failed),
    EndRule(
        "job.reported_before_requeue", Category.UNKNOWN, _LIKELY, _reports_cause_before_requeue
    ),
    _state(JobState.BOOT_FAIL),
    # A batch step whose slurmstepd is gone: wait status 1 without an exit code (measured).
    EndRule(
        "slurm.stepd_lost",
        Category.UNKNOWN,
        _LIKELY,
        lambda f: f.requeued and (f.end.exit_code, f.end.signal) == (0, 1),
    ),
    EndRule(
        "job.failed_before_requeue",
        Category.UNKNOWN,
        _GUESS,
        lambda f: f.requeued and f.reports_failure and not f.exit_failed,
    ),
    # On 22.05 preemption by requeue and a person's requeue look alike; both are only adjusted. A
    # job that had failed by itself was requeued by the site's RequeueExit: the exit status counts.
    _rule(STATE_CAUSES[JobFlag.REQUEUED], lambda f: f.requeued and not f.exit_failed),
    EndRule(
        "slurm.reservation_ended",
        Category.RESERVATION_ENDED,
        _LIKELY,
        lambda f: f.end.reserved and _timed_out_early(f),
    ),
    EndRule("slurm.early_timeout", Category.USAGE_LIMIT, _LIKELY, _timed_out_early),
    _state(JobState.TIMEOUT, _reason("TimeLimit")),
    _state(JobState.CANCELLED),
    _state(JobState.OUT_OF_MEMORY, _reason("OutOfMemory")),
    _state(JobState.COMPLETED),
    # Before 24.11 a cancellation and a completion look alike while the job is COMPLETING: the hook
    # runs at once, when the environment has 0:0 and the record holds nothing yet. But a run that
    # completes has reported it first (`job.reported_completed`).
    EndRule(NO_REPORT, Category.CANCELLED, _LIKELY, lambda f: f.clean_exit),
    EndRule(
        "job.time_limit",
        Category.TIMEOUT,
        _LIKELY,
        lambda f: f.cause is Category.TIMEOUT and f.near_time_limit,
    ),
    EndRule(
        "job.fatal",
        Category.UNKNOWN,
        _LIKELY,
        lambda f: _reports_fatal_cause(f) and not _is_likely(f),
    ),
    EndRule("job.left_node", Category.UNKNOWN, _LIKELY, lambda f: f.leaves_node),
    EndRule("slurm.node_down", Category.HARDWARE_NODE, _LIKELY, lambda f: f.node_down),
    EndRule("job.reported", Category.UNKNOWN, _LIKELY, _reports_cause),
    EndRule("slurm.exit_not_recorded", Category.UNKNOWN, _GUESS, lambda f: f.exit_not_recorded),
    _exit(CRASH),
    _exit(COMMAND_NOT_RUN),
    _exit(NONZERO),
    EndRule("unlisted", Category.UNLISTED, _GUESS, lambda _: True),
)

NOT_STARTED_RULES = frozenset({"slurm.prolog_failed", PROLOG_DRAINED, "state.boot_fail"})
"""Rules of attempts that ended before the job's script had started."""

SELF_REPORT_RULES = frozenset(
    {"job.fatal", "job.left_node", "job.reported", "job.reported_before_requeue"}
)
"""Rules whose category is the self-reported one."""


def first_match(facts: EndFacts) -> EndRule:
    """Return the first rule that applies to an end."""
    return next(rule for rule in _END_RULES if rule.when(facts))


def end_rules() -> tuple[tuple[str, Category, Confidence], ...]:
    """Return the table for the documentation: (id, category, confidence) in order."""
    return tuple((rule.id, rule.category, rule.confidence) for rule in _END_RULES)
