"""Decide what is done about an end."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category, Restart
from slurm_restart.core.history import History, Streak, streak
from slurm_restart.core.journal_events import Action, EndEvent
from slurm_restart.core.restart_limits import Policy


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the attempt got, in training steps; None: not known."""

    made: bool | None
    attempt: int | None = None
    from_step: int | None = None
    step: int | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that a decision depends on."""

    attribution: Attribution
    progress: Progress
    policy: Policy
    history: History
    restarts: int
    """Slurm's own restart count, which no user can forge."""
    requeueable: bool = True
    """Slurm's Requeue= of the job, which a person may have turned off."""
    run_time: int | None = None

    @property
    def streak(self) -> Streak:
        """Failures in a row with this end; restarts before situation."""
        before = streak(self.history.ends, next_from_step=self.progress.from_step)
        if self.made:
            return Streak(failures=0, restarts=0)
        failed = self.attribution.counts and self.made is False
        return replace(before, failures=before.failures + failed)

    @property
    def made(self) -> bool | None:
        """Whether the attempt made progress; None: not known. An evaluation never makes any."""
        return False if self.policy.evaluation else self.progress.made

    @property
    def total(self) -> int:
        """Restarts so far that count against the cap: the larger of Slurm's count and our own."""
        before = self.restarts - self.attribution.requeued
        return max(self.history.total_restarts(), before - self.history.uncounted_restarts())


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is done about an end, and why. The counters include this end."""

    action: Action
    rule: str
    reason: str
    failures: int
    total: int
    delay: int = 0
    """Seconds before the restart."""
    last_chance: bool = False
    """The next end without progress is final."""


def _repeats(situation: Situation, same: Callable[[EndEvent], bool]) -> int:
    """Count the ends before this one, back to the last progress, for which `same` holds."""
    count = 0
    for end in reversed(situation.history.ends):
        if end.progress or (
            situation.progress.step is not None and end.step != situation.progress.step
        ):
            break
        count += same(end)
    return count


def _oom_again(situation: Situation) -> bool:
    # Without a report on progress it is not known whether this is the same step.
    if situation.attribution.category is not Category.OOM_HOST or situation.made is not False:
        return False
    return _repeats(situation, lambda end: end.category is Category.OOM_HOST) >= 1


def _repeated(situation: Situation) -> bool:
    limit, root = situation.policy.stop_on_repeat, situation.attribution.root_hash
    if (
        situation.attribution.category.restart is not Restart.UNTIL_REPEATED
        or limit == 0
        or root is None
        or situation.made
    ):
        return False
    category = situation.attribution.category
    return (
        1 + _repeats(situation, lambda end: (end.category, end.root) == (category, root)) >= limit
    )


def _budget_used(situation: Situation) -> bool:
    # An end that never counts is restarted whatever the counters are.
    return (
        situation.attribution.counts and situation.streak.failures > situation.policy.max_restarts
    )


def _capped(situation: Situation) -> bool:
    return (
        situation.attribution.counts and situation.total >= situation.policy.site.max_total_restarts
    )


def _why_no(situation: Situation) -> str:
    return situation.attribution.category.meaning


def _why_capped(situation: Situation) -> str:
    limit = situation.policy.site.max_total_restarts
    return f"{situation.total} restarts in all, the site allows {limit}"


def _why_budget(situation: Situation) -> str:
    at = "" if situation.progress.step is None else f" beyond step {situation.progress.step}"
    return (
        f"{situation.streak.failures} ends in a row without progress{at}, "
        f"max_num_restarts is {situation.policy.max_restarts}"
    )


def _why_repeated(situation: Situation) -> str:
    return f"the same root cause at the same step {situation.policy.stop_on_repeat} times"


@dataclass(frozen=True)
class _StopRule:
    """One row of the table of stops: ends the run in a situation for which `when` holds."""

    id: str
    when: Callable[[Situation], bool]
    reason: Callable[[Situation], str]


# First match wins; no match restarts.
_STOP_RULES: tuple[_StopRule, ...] = (
    _StopRule("not-recoverable", lambda situation: not situation.attribution.recoverable, _why_no),
    _StopRule(
        "requeue-disabled",
        lambda situation: not situation.requeueable and not situation.attribution.requeued,
        lambda _: "the job's Requeue flag is off",
    ),
    _StopRule(
        "total-cap",
        _capped,
        _why_capped,
    ),
    _StopRule("oom-repeated", _oom_again, lambda _: "out of memory again at the same step"),
    _StopRule("repeated", _repeated, _why_repeated),
    _StopRule("budget", _budget_used, _why_budget),
)


def stop_rules() -> tuple[str, ...]:
    """Return the ids of the rules that end a run, in order, for the documentation."""
    return tuple(stop.id for stop in _STOP_RULES)


def _restart_action(situation: Situation) -> Action:
    if situation.attribution.category is Category.PROLOG_FAILED:
        return Action.RELEASE
    return Action.ADJUST if situation.attribution.requeued else Action.REQUEUE


_HELD = frozenset({Category.HELD, Category.RESERVATION_ENDED})
"""Causes of a job that waits for a person. Slurm also holds a job whose reservation is deleted."""


def _stop_action(situation: Situation) -> Action:
    # A job that waits for a person is left to that person; one that Slurm has requeued for another
    # reason has to be cancelled.
    attribution = situation.attribution
    if attribution.category in _HELD or not (attribution.requeued or attribution.stale_running):
        return Action.LEAVE
    if attribution.category is Category.COMPLETED:
        # The attempt runs once more: it ends as success at once, and its dependents are kept.
        return Action.REQUEUE if attribution.stale_running else Action.ADJUST
    return Action.CANCEL


def _counted_as(situation: Situation) -> str:
    if not situation.attribution.counts:
        return "not counted"
    if situation.made:
        return "after progress"
    if situation.made is None:
        return "progress not known"
    return f"restart {situation.streak.failures}/{situation.policy.max_restarts} without progress"


def _delay(situation: Situation) -> int:
    return situation.policy.delay(
        situation.streak.restarts, progress=situation.made is True, run_time=situation.run_time
    )


def decide(situation: Situation) -> Decision:
    """Decide about one end. Every situation has an action and a reason."""
    failures, total = situation.streak.failures, situation.total
    stop = next((stop for stop in _STOP_RULES if stop.when(situation)), None)
    if stop is not None:
        return Decision(
            action=_stop_action(situation),
            rule=stop.id,
            reason=stop.reason(situation),
            failures=failures,
            total=total,
        )
    counts = situation.attribution.counts
    spent = situation.made is not None and failures >= situation.policy.max_restarts
    return Decision(
        action=_restart_action(situation),
        rule="restart",
        reason=f"{situation.attribution.category.value}: {_counted_as(situation)}",
        failures=failures,
        total=total + counts,
        delay=_delay(situation) if counts else 0,
        last_chance=counts and (spent or total + 1 >= situation.policy.site.max_total_restarts),
    )
