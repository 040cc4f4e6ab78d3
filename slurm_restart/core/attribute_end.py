"""Why an attempt ended: Slurm's facts first, then the job's own word."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import (
    SLURMS_OWN,
    TREATMENTS,
    Category,
    Confidence,
    Nodes,
    Restart,
)
from slurm_restart.core.job import CRASH_SIGNALS, JobEnd, JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord

SIGTERM, SIGKILL = 15, 9
TIME_LIMIT_MARGIN = 300
"""Seconds before the time limit within which a supervisor's word `timeout` is believed.

The default warning comes 120 s before the limit; Slurm may send it up to 60 s earlier (sbatch(1),
--signal), and the trainer is given time to end.
"""


@dataclass(frozen=True, kw_only=True)
class EndFacts:
    """All that is known of one end. `word` is None where this attempt's job said nothing."""

    end: JobEnd
    self_report: CommentRecord | None
    known_restarts: int
    """Slurm's restart count when the attempt began."""

    @property
    def requeued(self) -> bool:
        """Whether the job is pending again already, by Slurm's doing or a person's."""
        if self.end.state is not None:
            return self.end.state is JobState.PENDING
        return self.end.restarts > self.known_restarts

    @property
    def node_failed(self) -> bool:
        """Slurm gave up a node of the job.

        The base state says so from 24.11. Before, the hook's restart count is still the old one
        while the record's has grown, which happens in no other end (measured on 22.05).
        """
        if self.end.state is JobState.NODE_FAIL or self.end.reason == "NodeDown":
            return True
        env = self.end.env_restarts
        return self.requeued and env is not None and env < self.end.restarts

    @property
    def timed_out(self) -> bool:
        """Slurm ended the job at its time limit, or at the end of the grace time."""
        return self.end.state is JobState.TIMEOUT or self.end.reason == "TimeLimit"

    @property
    def near_time_limit(self) -> bool:
        """Whether the attempt ran about as long as it may."""
        limit, ran = self.end.time_limit, self.end.run_time
        return limit is not None and ran is not None and ran >= limit - TIME_LIMIT_MARGIN

    @property
    def ended_by_itself(self) -> bool:
        """Whether the trainer of this attempt is known to have ended before Slurm ended the job."""
        return self.self_report is not None and self.self_report.ended

    @property
    def cause(self) -> Category | None:
        """What the supervisor made of the trainer's end, where it saw it."""
        said = (
            self.self_report.cause
            if self.self_report is not None and self.self_report.ended
            else None
        )
        return Category.UNKNOWN if said in SLURMS_OWN else said

    @property
    def clean_exit(self) -> bool:
        """Exit code 0, no signal, in the hook's environment."""
        return self.end.exit_code == 0 and self.end.signal == 0


@dataclass(frozen=True)
class _EndRule:
    """One row: the first that matches an end says what it was."""

    id: str
    category: Category
    confidence: Confidence
    when: Callable[[EndFacts], bool]


_CERTAIN, _LIKELY, _GUESS = Confidence.CERTAIN, Confidence.LIKELY, Confidence.GUESS
_PROLOG_REASON = "launch_failed_requeued_held"
_HELD_REASONS = frozenset({"job_requeued_in_held_state", "JobHeldUser", "JobHeldAdmin"})


def _reason(*names: str) -> Callable[[EndFacts], bool]:
    return lambda facts: facts.end.reason in names


def _state(*states: JobState) -> Callable[[EndFacts], bool]:
    return lambda facts: facts.end.state in states


def _by_limit(facts: EndFacts) -> bool:
    # Reasons of associations and QOS: AssocGrpCPUMinutesLimit, QOSMaxWallDuration…Limit (squeue).
    # A job that is pending again shows with such a reason only why it waits.
    reason = facts.end.reason
    return reason.startswith(("Assoc", "QOS")) and reason.endswith("Limit") and not facts.requeued


def _reports_fatal_cause(facts: EndFacts) -> bool:
    # A finished run that fails all the same is none: its next attempt ends as success at once.
    cause = facts.cause
    return cause not in (None, Category.COMPLETED) and TREATMENTS[cause].restart is Restart.NO


# First match wins. Slurm's own facts stand above everything that the job says of itself; the last
# row matches what no other row knows, and gives no action.
_END_RULES: tuple[_EndRule, ...] = (
    _EndRule("slurm.prolog_failed", Category.PROLOG_FAILED, _CERTAIN, _reason(_PROLOG_REASON)),
    _EndRule(
        "slurm.requeue_hold",
        Category.HELD,
        _CERTAIN,
        # A held job that is cancelled keeps its reason.
        lambda f: (
            (f.end.reason in _HELD_REASONS or JobFlag.REQUEUE_HOLD in f.end.flags)
            and not (f.end.state is not None and f.end.state.is_final)
        ),
    ),
    _EndRule(
        "slurm.deadline",
        Category.DEADLINE,
        _CERTAIN,
        lambda f: f.end.state is JobState.DEADLINE or f.end.reason == "DeadLine",
    ),
    _EndRule("slurm.usage_limit", Category.USAGE_LIMIT, _CERTAIN, _by_limit),
    _EndRule(
        "slurm.reservation",
        Category.RESERVATION_ENDED,
        _CERTAIN,
        lambda f: JobFlag.RESV_DEL_HOLD in f.end.flags or f.end.reason == "ReservationDeleted",
    ),
    # Before preemption and NODE_FAIL: a trainer that has finished, in its grace time perhaps, stays
    # finished, whatever became of its nodes afterwards. But where Slurm calls the end a TIMEOUT all
    # the same (measured), dependents would go: one more attempt ends as success at once.
    _EndRule(
        "job.completed_word",
        Category.COMPLETED,
        _CERTAIN,
        lambda f: (
            f.cause is Category.COMPLETED and (f.requeued or (f.clean_exit and not f.timed_out))
        ),
    ),
    _EndRule(
        "slurm.preempted",
        Category.PREEMPTION,
        _CERTAIN,
        lambda f: f.end.state is JobState.PREEMPTED or f.end.preempted,
    ),
    _EndRule("slurm.node_fail", Category.HARDWARE_NODE, _CERTAIN, lambda f: f.node_failed),
    # What the trainer said before Slurm requeued the job: preemption and the like say nothing.
    _EndRule(
        "job.word",
        Category.UNKNOWN,
        _LIKELY,
        lambda f: f.requeued and f.cause not in (None, Category.UNKNOWN, Category.TIMEOUT),
    ),
    _EndRule("slurm.boot_fail", Category.HARDWARE_NODE, _CERTAIN, _state(JobState.BOOT_FAIL)),
    # A batch step whose slurmstepd is gone: wait status 1 without an exit code (measured).
    _EndRule(
        "slurm.stepd_lost",
        Category.UNKNOWN,
        _LIKELY,
        lambda f: f.requeued and (f.end.exit_code, f.end.signal) == (0, 1),
    ),
    # On 22.05 preemption by requeue and a person's requeue look alike; both are only re-fitted.
    _EndRule("slurm.requeued", Category.REQUEUED, _CERTAIN, lambda f: f.requeued),
    _EndRule(
        "slurm.time_limit",
        Category.TIMEOUT,
        _CERTAIN,
        lambda f: f.timed_out,
    ),
    _EndRule("slurm.cancelled", Category.CANCELLED, _CERTAIN, _state(JobState.CANCELLED)),
    _EndRule(
        "slurm.oom",
        Category.OOM_HOST,
        _CERTAIN,
        lambda f: f.end.state is JobState.OUT_OF_MEMORY or f.end.reason == "OutOfMemory",
    ),
    _EndRule("slurm.completed", Category.COMPLETED, _CERTAIN, _state(JobState.COMPLETED)),
    # Before 24.11 nothing tells a cancellation from a completion while the job is COMPLETING: the
    # hook runs at once, when the environment says 0:0 and the record not yet anything. But a run
    # that completes has said so first (`job.completed_word`).
    _EndRule("slurm.ended_silently", Category.CANCELLED, _LIKELY, lambda f: f.clean_exit),
    _EndRule(
        "job.time_limit",
        Category.TIMEOUT,
        _LIKELY,
        lambda f: f.cause is Category.TIMEOUT and f.near_time_limit,
    ),
    _EndRule("job.fatal", Category.UNKNOWN, _LIKELY, _reports_fatal_cause),
    _EndRule(
        "slurm.node_down",
        Category.HARDWARE_NODE,
        _LIKELY,
        lambda f: any(node.name in f.end.nodes for node in f.end.down_nodes),
    ),
    _EndRule(
        "job.word",
        Category.UNKNOWN,
        _LIKELY,
        lambda f: f.cause not in (None, Category.TIMEOUT, Category.UNKNOWN, Category.COMPLETED),
    ),
    _EndRule(
        "signal.crash",
        Category.SOFTWARE_CRASH,
        _LIKELY,
        lambda f: f.end.signal in CRASH_SIGNALS or f.end.exit_code - 128 in CRASH_SIGNALS,
    ),
    _EndRule("exit.nonzero", Category.UNKNOWN, _GUESS, lambda f: not f.clean_exit),
    _EndRule("unlisted", Category.UNLISTED, _GUESS, lambda _: True),
)

_SELF_REPORT_RULES = frozenset({"job.fatal", "job.word"})


def end_rules() -> tuple[tuple[str, Category, Confidence], ...]:
    """The table for the documentation: (id, category, confidence) in order."""
    return tuple((rule.id, rule.category, rule.confidence) for rule in _END_RULES)


def _blame(facts: EndFacts, category: Category, named: Sequence[str]) -> tuple[Blame, ...]:
    """Nodes with evidence: those Slurm shows down, and those that the job's log names."""
    treatment = TREATMENTS[category].nodes
    if treatment is Nodes.NONE:
        return ()
    own = set(facts.end.nodes)
    blamed = {
        node.name: Blame(node=node.name, evidence=f"Slurm: {node.state} {node.reason}".strip())
        for node in facts.end.down_nodes
        if node.name in own
    }
    rule = facts.self_report.rule if facts.self_report is not None else None
    for name in named:
        if name in own and name not in blamed:
            blamed[name] = Blame(node=name, evidence=f"the job's log: {rule or category.value}")
    return tuple(blamed.values())


def attribute_end(facts: EndFacts, named: Sequence[str] = ()) -> Attribution:
    """Judge one end.

    Args:
        facts: Slurm's facts and the job's own word.
        named: node names of the digest's hostlist, expanded.
    """
    rule = next(rule for rule in _END_RULES if rule.when(facts))
    category, rule_id = rule.category, rule.id
    self_report = facts.self_report if facts.ended_by_itself else None
    if rule.id in _SELF_REPORT_RULES and self_report is not None and facts.cause is not None:
        category, rule_id = facts.cause, self_report.rule or rule.id
    own = set(facts.end.nodes)
    return Attribution(
        category=category,
        rule=rule_id,
        confidence=rule.confidence,
        blamed=_blame(facts, category, named),
        reported=tuple(name for name in named if name not in own),
        root_hash=self_report.root
        if self_report is not None and rule.id in _SELF_REPORT_RULES
        else None,
        requeued=facts.requeued,
        stale_running=facts.end.stale_running,
    )
