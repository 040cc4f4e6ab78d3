"""The one function that decides what is done about an end."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import TREATMENTS, Category, Restart
from slurm_restart.core.history import Action, EndEvent, History, Streak, streak
from slurm_restart.core.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the attempt got, in training steps; None: not known."""

    made: bool | None
    attempt: int | None = None
    from_step: int | None = None
    step: int | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that a decision rests on."""

    attribution: Attribution
    progress: Progress
    policy: Policy
    history: History
    restarts: int
    """Slurm's own restart count, which no user can forge."""
    requeueable: bool = True
    """Slurm's Requeue= of the job, which a person may have taken away."""
    run_time: int | None = None

    @property
    def streak(self) -> Streak:
        """Failures in a row with this end; restarts before it."""
        before = streak(self.history.ends, next_from_step=self.progress.from_step)
        if self.made:
            return Streak(failures=0, restarts=0)
        failed = self.attribution.counts and self.made is False
        return replace(before, failures=before.failures + failed)

    @property
    def made(self) -> bool | None:
        """Progress of the attempt; an evaluation has none by its nature."""
        return False if self.policy.evaluation else self.progress.made

    @property
    def total(self) -> int:
        """Restarts so far that count against the cap, by Slurm's count or our own."""
        before = self.restarts - self.attribution.requeued
        return max(self.history.total_restarts(), before - self.history.uncounted_restarts())


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is done about an end, and why. The counters are final."""

    action: Action
    rule: str
    reason: str
    failures: int
    total: int
    delay: int = 0
    """Seconds before the restart."""
    last_chance: bool = False
    """The next end without progress is final."""


def _treatment(it: Situation) -> Restart:
    return TREATMENTS[it.attribution.category].restart


def _repeats(it: Situation, same: Callable[[EndEvent], bool]) -> int:
    """Ends in a row before this one, back to the last progress, for which `same` holds."""
    count = 0
    for end in reversed(it.history.ends):
        if end.progress or (it.progress.step is not None and end.step != it.progress.step):
            break
        count += same(end)
    return count


def _oom_again(it: Situation) -> bool:
    # Without a word on progress nobody knows whether it is the same step.
    if it.attribution.category is not Category.OOM_HOST or it.made is not False:
        return False
    return _repeats(it, lambda end: end.category is Category.OOM_HOST) >= 1


def _repeated(it: Situation) -> bool:
    limit, root = it.policy.stop_on_repeat, it.attribution.root_hash
    if _treatment(it) is not Restart.UNTIL_REPEATED or limit == 0 or root is None or it.made:
        return False
    category = it.attribution.category
    return 1 + _repeats(it, lambda end: (end.category, end.root) == (category, root)) >= limit


def _budget_used(it: Situation) -> bool:
    # A termination that never counts goes on whatever the counters say.
    return it.attribution.counts and it.streak.failures > it.policy.max_restarts


def _capped(it: Situation) -> bool:
    return it.attribution.counts and it.total >= it.policy.site.max_total_restarts


def _why_no(it: Situation) -> str:
    return TREATMENTS[it.attribution.category].meaning


def _why_budget(it: Situation) -> str:
    at = "" if it.progress.step is None else f" beyond step {it.progress.step}"
    return (
        f"{it.streak.failures} ends in a row without progress{at}, "
        f"max_num_restarts is {it.policy.max_restarts}"
    )


def _why_repeated(it: Situation) -> str:
    return f"the same root cause at the same step {it.policy.stop_on_repeat} times"


@dataclass(frozen=True)
class _StopRule:
    """One row: the first that matches a situation ends the run."""

    id: str
    when: Callable[[Situation], bool]
    reason: Callable[[Situation], str]


# First match wins; no match restarts.
_STOP_RULES: tuple[_StopRule, ...] = (
    _StopRule("not-recoverable", lambda it: _treatment(it) is Restart.NO, _why_no),
    _StopRule(
        "requeue-disabled",
        lambda it: not it.requeueable and not it.attribution.requeued,
        lambda _: "the job's Requeue flag is off",
    ),
    _StopRule(
        "total-cap",
        _capped,
        lambda it: (
            f"{it.total} restarts in all, the site allows {it.policy.site.max_total_restarts}"
        ),
    ),
    _StopRule("oom-repeated", _oom_again, lambda _: "out of memory again at the same step"),
    _StopRule("repeated", _repeated, _why_repeated),
    _StopRule("budget", _budget_used, _why_budget),
)


def stop_rules() -> tuple[str, ...]:
    """The ids of the rules that end a run, in order; for the documentation."""
    return tuple(stop.id for stop in _STOP_RULES)


def _restart_action(it: Situation) -> Action:
    if it.attribution.category is Category.PROLOG_FAILED:
        return Action.RELEASE
    return Action.ADJUST if it.attribution.requeued else Action.REQUEUE


_HELD = frozenset({Category.HELD, Category.RESERVATION_ENDED})
"""The job waits for a person: Slurm holds it, too, when its reservation is deleted."""


def _stop_action(it: Situation) -> Action:
    # What waits for a person is his; what Slurm has requeued otherwise has to be taken back.
    attribution = it.attribution
    if attribution.category in _HELD or not (attribution.requeued or attribution.stale_running):
        return Action.LEAVE
    if attribution.category is Category.COMPLETED:
        # The attempt runs once more: it ends as success at once, and dependents live.
        return Action.REQUEUE if attribution.stale_running else Action.ADJUST
    return Action.CANCEL


def _counted_as(it: Situation) -> str:
    if not it.attribution.counts:
        return "not counted"
    if it.made:
        return "after progress"
    if it.made is None:
        return "progress not known"
    return f"restart {it.streak.failures}/{it.policy.max_restarts} without progress"


def _delay(it: Situation) -> int:
    return it.policy.delay(it.streak.restarts, progress=it.made is True, run_time=it.run_time)


def decide(it: Situation) -> Decision:
    """Decide about one end. Total: for every situation there is an action and a reason."""
    failures, total = it.streak.failures, it.total
    stop = next((stop for stop in _STOP_RULES if stop.when(it)), None)
    if stop is not None:
        return Decision(
            action=_stop_action(it),
            rule=stop.id,
            reason=stop.reason(it),
            failures=failures,
            total=total,
        )
    counts = it.attribution.counts
    spent = it.made is not None and failures >= it.policy.max_restarts
    return Decision(
        action=_restart_action(it),
        rule="restart",
        reason=f"{it.attribution.category.value}: {_counted_as(it)}",
        failures=failures,
        total=total + counts,
        delay=_delay(it) if counts else 0,
        last_chance=counts and (spent or total + 1 >= it.policy.site.max_total_restarts),
    )
