"""The ordered rules that give an end its category: Slurm's facts, then the self-report."""

from collections.abc import Callable
from dataclasses import dataclass

from slurm_restart.core.category import SLURM_ONLY, Category, Confidence
from slurm_restart.core.job import JobEnd, JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.slurm_state import (
    COMMAND_NOT_RUN,
    CRASH,
    NONZERO,
    STATE_CAUSES,
    Cause,
    exit_cause,
)

TIME_LIMIT_MARGIN = 300
"""Seconds before the time limit within which a self-reported `timeout` is accepted.

The default warning comes 120 s before the limit; Slurm may send it up to 60 s earlier (sbatch(1),
--signal), and the trainer is given time to end.
"""


@dataclass(frozen=True, kw_only=True)
class EndFacts:
    """All that is known of one end. `self_report`: None where this attempt's job reported none."""

    end: JobEnd
    self_report: CommentRecord | None
    known_restarts: int
    """Slurm's restart count when the attempt began."""

    @property
    def requeued(self) -> bool:
        """Whether the job is pending again already, requeued by Slurm or a person."""
        if self.end.state is not None:
            return self.end.state is JobState.PENDING
        return self.end.restarts > self.known_restarts

    @property
    def node_failed(self) -> bool:
        """Whether Slurm lost a node of the job.

        The base state shows it from 24.11. Before, the hook's restart count is still the old one
        while the record's has grown, which happens in no other end (measured on 22.05).
        """
        if self.end.state is JobState.NODE_FAIL or self.end.reason == "NodeDown":
            return True
        env = self.end.env_restarts
        return self.requeued and env is not None and env < self.end.restarts

    @property
    def timed_out(self) -> bool:
        """Whether Slurm ended the job at its time limit, or at the end of the grace time."""
        return self.end.state is JobState.TIMEOUT or self.end.reason == "TimeLimit"

    @property
    def near_time_limit(self) -> bool:
        """Whether the attempt ran until `TIME_LIMIT_MARGIN` seconds before its limit or longer."""
        limit, ran = self.end.time_limit, self.end.run_time
        return limit is not None and ran is not None and ran >= limit - TIME_LIMIT_MARGIN

    @property
    def final_report(self) -> CommentRecord | None:
        """The self-report, if it says that the trainer of this attempt has ended."""
        report = self.self_report
        return report if report is not None and report.ended else None

    @property
    def cause(self) -> Category | None:
        """The self-reported cause; UNKNOWN in place of one that only Slurm can establish."""
        cause = self.final_report.cause if self.final_report is not None else None
        return Category.UNKNOWN if cause in SLURM_ONLY else cause

    @property
    def clean_exit(self) -> bool:
        """Whether the hook's environment has exit code 0 and no signal."""
        return self.end.exit_code == 0 and self.end.signal == 0

    @property
    def exit_cause(self) -> Cause | None:
        """The cause that the exit status alone gives.

        A supervisor that reports has judged the trainer's exit status together with its log.
        """
        cause = exit_cause(self.end.exit_code, self.end.signal)
        return NONZERO if cause is COMMAND_NOT_RUN and self.final_report is not None else cause


@dataclass(frozen=True)
class EndRule:
    """One row of the table of ends: applies to an end for which `when` holds."""

    id: str
    category: Category
    confidence: Confidence
    when: Callable[[EndFacts], bool]


_CERTAIN, _LIKELY, _GUESS = Confidence.CERTAIN, Confidence.LIKELY, Confidence.GUESS
_PROLOG_REASON = "launch_failed_requeued_held"
_HELD_REASONS = frozenset({"job_requeued_in_held_state", "JobHeldUser", "JobHeldAdmin"})


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
    held = facts.end.reason in _HELD_REASONS or JobFlag.REQUEUE_HOLD in facts.end.flags
    return held and not (facts.end.state is not None and facts.end.state.is_final)


def _reached_usage_limit(facts: EndFacts) -> bool:
    # Reasons of associations and QOS: AssocGrpCPUMinutesLimit, QOSMaxWallDuration…Limit (squeue).
    # A job that is pending again shows with such a reason only why it waits.
    reason = facts.end.reason
    return reason.startswith(("Assoc", "QOS")) and reason.endswith("Limit") and not facts.requeued


def _reports_completion(facts: EndFacts) -> bool:
    # A trainer that has finished, perhaps in its grace time, stays finished whatever becomes of
    # its nodes. Where Slurm calls the end a TIMEOUT all the same (measured), its dependents would
    # be lost: one more attempt ends as success at once.
    completed = facts.cause is Category.COMPLETED
    return completed and (facts.requeued or (facts.clean_exit and not facts.timed_out))


def _reports_cause_before_requeue(facts: EndFacts) -> bool:
    return facts.requeued and facts.cause not in (None, Category.UNKNOWN, Category.TIMEOUT)


def _reports_fatal_cause(facts: EndFacts) -> bool:
    # A finished run that then fails is not fatal: its next attempt ends as success at once.
    cause = facts.cause
    return cause not in (None, Category.COMPLETED) and not cause.recoverable


def _reports_cause(facts: EndFacts) -> bool:
    return facts.cause not in (None, Category.TIMEOUT, Category.UNKNOWN, Category.COMPLETED)


# First match wins. Slurm's own facts stand above the self-report; the last row matches every end
# that no other row matches, and gives no action.
_END_RULES: tuple[EndRule, ...] = (
    EndRule("slurm.prolog_failed", Category.PROLOG_FAILED, _CERTAIN, _reason(_PROLOG_REASON)),
    _rule(STATE_CAUSES[JobFlag.REQUEUE_HOLD], _is_held),
    _state(JobState.DEADLINE, _reason("DeadLine")),
    EndRule("slurm.usage_limit", Category.USAGE_LIMIT, _CERTAIN, _reached_usage_limit),
    _rule(
        STATE_CAUSES[JobFlag.RESV_DEL_HOLD],
        lambda f: JobFlag.RESV_DEL_HOLD in f.end.flags or f.end.reason == "ReservationDeleted",
    ),
    EndRule("job.reported_completed", Category.COMPLETED, _CERTAIN, _reports_completion),
    _state(JobState.PREEMPTED, lambda f: f.end.preempted),
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
    # On 22.05 preemption by requeue and a person's requeue look alike; both are only adjusted.
    _rule(STATE_CAUSES[JobFlag.REQUEUED], lambda f: f.requeued),
    _state(JobState.TIMEOUT, _reason("TimeLimit")),
    _state(JobState.CANCELLED),
    _state(JobState.OUT_OF_MEMORY, _reason("OutOfMemory")),
    _state(JobState.COMPLETED),
    # Before 24.11 a cancellation and a completion look alike while the job is COMPLETING: the hook
    # runs at once, when the environment has 0:0 and the record holds nothing yet. But a run that
    # completes has reported it first (`job.reported_completed`).
    EndRule("slurm.no_report", Category.CANCELLED, _LIKELY, lambda f: f.clean_exit),
    EndRule(
        "job.time_limit",
        Category.TIMEOUT,
        _LIKELY,
        lambda f: f.cause is Category.TIMEOUT and f.near_time_limit,
    ),
    EndRule("job.fatal", Category.UNKNOWN, _LIKELY, _reports_fatal_cause),
    EndRule(
        "slurm.node_down",
        Category.HARDWARE_NODE,
        _LIKELY,
        lambda f: any(node.name in f.end.nodes for node in f.end.down_nodes),
    ),
    EndRule("job.reported", Category.UNKNOWN, _LIKELY, _reports_cause),
    _exit(CRASH),
    _exit(COMMAND_NOT_RUN),
    _exit(NONZERO),
    EndRule("unlisted", Category.UNLISTED, _GUESS, lambda _: True),
)

SELF_REPORT_RULES = frozenset({"job.fatal", "job.reported", "job.reported_before_requeue"})
"""Rules whose category is the self-reported one."""


def first_match(facts: EndFacts) -> EndRule:
    """Return the first rule that applies to an end."""
    return next(rule for rule in _END_RULES if rule.when(facts))


def end_rules() -> tuple[tuple[str, Category, Confidence], ...]:
    """Return the table for the documentation: (id, category, confidence) in order."""
    return tuple((rule.id, rule.category, rule.confidence) for rule in _END_RULES)
