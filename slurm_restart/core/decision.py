"""Decide what is done about an end."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from slurm_restart.core.category import Category, Restart
from slurm_restart.core.end_rules import PROLOG_DRAINED
from slurm_restart.core.history import ends_at_step
from slurm_restart.core.in_place_ends import NONE_IN_PLACE, InPlaceEnds
from slurm_restart.core.journal_events import Action, EndEvent
from slurm_restart.core.placement import Placement, place, why_not_in_place
from slurm_restart.core.prolog_failures import PrologFailures
from slurm_restart.core.situation import Situation
from slurm_restart.frozen import frozen


@frozen
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
    fall_back: bool = False
    """Restarted to start from an earlier checkpoint."""
    progress: bool | None = None
    """Whether the attempt made progress, for the journal; None: not known yet."""
    not_in_place: str | None = None
    """Why a restart that may be in place is not; None: it is, or was not asked for."""
    placement: Placement | None = None
    """Where a restart in place starts."""

    def explained_by(self, before: "Decision | None") -> "Decision":
        """Return this with the reason against a restart in place of one on the same end before."""
        if before is None or not self.action.restarts or self.not_in_place is not None:
            return self
        return replace(self, not_in_place=before.not_in_place)


_STAYS_HELD = (
    "the job stays held, so that it drains no further node; release it once the prolog is repaired"
)
"""For a job that Slurm holds because a node's prolog failed."""


def _repeats(
    situation: Situation,
    same: Callable[[EndEvent], bool],
    in_place: Callable[[InPlaceEnds], int],
) -> int:
    """Count the ends before this one, back to the last progress, for which `same` holds.

    `in_place` returns how many of the ends in place before an end are counted if that end is.
    """
    count = in_place(situation.in_place)
    if situation.in_place.progress:
        return count
    for end in ends_at_step(situation.history.ends, situation.progress.step):
        before = end.in_place or NONE_IN_PLACE
        count += (1 + in_place(before)) if same(end) else 0
        if before.progress:
            break
    return count


def _oom_again(situation: Situation) -> bool:
    # Without a report on progress it is not known whether this is the same step.
    if situation.attribution.category is not Category.OOM_HOST or situation.made is not False:
        return False
    # No run is restarted in place after it.
    return _repeats(situation, lambda end: end.category is Category.OOM_HOST, lambda _: 0) >= 1


def _repeated(situation: Situation) -> bool:
    limit, root = situation.policy.stop_on_repeat, situation.attribution.root_hash
    if (
        situation.attribution.restart is not Restart.UNTIL_REPEATED
        or limit == 0
        or root is None
        or situation.made
        or situation.nan_may_be_node
    ):
        return False
    category = situation.attribution.category
    before = _repeats(
        situation,
        lambda end: (end.category, end.root) == (category, root),
        lambda in_place: in_place.same,
    )
    return 1 + before >= limit


def _budget_used(situation: Situation) -> bool:
    # An end that never counts is restarted whatever the counters are.
    return situation.is_capped and situation.streak.failures > situation.policy.max_restarts


def _requeue_disabled(situation: Situation) -> bool:
    if situation.requeueable or situation.attribution.requeued:
        return False
    allocation = situation.allocation
    if allocation is None or allocation.requeues:
        return True
    return why_not_in_place(situation.attribution, allocation) is not None


def _capped(situation: Situation) -> bool:
    return situation.is_capped and situation.total >= situation.policy.site.max_total_restarts


def _uncounted_capped(situation: Situation) -> bool:
    limit = situation.policy.site.max_uncounted_restarts
    return not situation.is_capped and situation.uncounted >= limit


def _prolog_again(situation: Situation) -> bool:
    ends = situation.history.ends
    last = ends[-1].category if ends else None
    return situation.attribution.category is last is Category.PROLOG_FAILED


def _exceeded_prolog_share(situation: Situation) -> PrologFailures | None:
    """Return the failures in that partition of the job in which the prolog fails too often."""
    found = situation.attribution
    # The second rule's job is not held by Slurm, and tries the next node.
    if found.category is not Category.PROLOG_FAILED and found.rule != PROLOG_DRAINED:
        return None
    share = situation.policy.site.max_prolog_failed_share
    return next((each for each in situation.prolog_failures if each.exceed(share)), None)


def _prolog_share(situation: Situation) -> bool:
    return _exceeded_prolog_share(situation) is not None


def _stopped(situation: Situation) -> bool:
    # A run that has finished is no run that was stopped.
    return (
        situation.stopped is not None and situation.attribution.category is not Category.COMPLETED
    )


def _why_no(situation: Situation) -> str:
    return situation.attribution.category.meaning


def _why_capped(situation: Situation) -> str:
    limit = situation.policy.site.max_total_restarts
    return f"{situation.total} restarts in all, the site allows {limit}"


def _why_uncounted(situation: Situation) -> str:
    limit = situation.policy.site.max_uncounted_restarts
    return f"{situation.uncounted} restarts that never count, the site allows {limit}"


def _why_prolog_share(situation: Situation) -> str:
    found = _exceeded_prolog_share(situation) or PrologFailures()
    allowed = found.allowed(situation.policy.site.max_prolog_failed_share)
    text = f"the prolog failed on {found.failed} of {found.nodes} nodes of a partition of the job"
    many = f", {found.of_attempt} of them the attempt's" if found.of_attempt > 1 else ""
    return f"{text}{many}, the site allows {allowed}"


def _why_budget(situation: Situation) -> str:
    progress, count = situation.progress, situation.streak.failures
    at = "" if progress.step is None else f" beyond {progress.unit.format(progress.step)}"
    return (
        f"{count} {'end' if count == 1 else 'ends'} in a row without progress{at}, "
        f"max_num_restarts is {situation.policy.max_restarts}"
    )


def _why_repeated(situation: Situation) -> str:
    progress = situation.progress
    at = "the same step" if progress.step is None else progress.unit.format(progress.step)
    same = [set(end.nodes) for end in situation.same_before]
    elsewhere = bool(same) and not set(situation.nodes).intersection(*same)
    times = max(situation.policy.stop_on_repeat, len(same) + 1)
    where = ", on different nodes" if elsewhere and situation.nodes else ""
    return f"the same root cause at {at} {times} times{where}"


@dataclass(frozen=True)
class _StopRule:
    """One row of the table of stops: ends the run in a situation for which `when` holds."""

    id: str
    when: Callable[[Situation], bool]
    reason: Callable[[Situation], str]


_REQUEUE_DISABLED = "requeue-disabled"
_STOPPED = "stopped"
# First match wins; no match restarts.
_STOP_RULES: tuple[_StopRule, ...] = (
    _StopRule(_STOPPED, _stopped, lambda situation: situation.stopped or ""),
    _StopRule("not-recoverable", lambda situation: not situation.attribution.recoverable, _why_no),
    _StopRule(
        _REQUEUE_DISABLED,
        _requeue_disabled,
        lambda _: "the job's Requeue flag is off",
    ),
    _StopRule("total-cap", _capped, _why_capped),
    _StopRule("uncounted-cap", _uncounted_capped, _why_uncounted),
    _StopRule("prolog-repeated", _prolog_again, lambda _: "a node's prolog failed twice in a row"),
    _StopRule("prolog-share", _prolog_share, _why_prolog_share),
    _StopRule("oom-repeated", _oom_again, lambda _: "out of memory again at the same step"),
    _StopRule("repeated", _repeated, _why_repeated),
    _StopRule("budget", _budget_used, _why_budget),
)
_AFTER_FALL_BACK = frozenset({"not-recoverable", "oom-repeated", "repeated"})
"""Rules by which a run ends only once it may go back to no earlier checkpoint."""


def stop_rules() -> tuple[str, ...]:
    """Return the ids of the rules that end a run, in order, for the documentation."""
    return tuple(stop.id for stop in _STOP_RULES)


_MOVES = "it failed at once without a known cause, and other nodes are free"
_SEARCHES = "it failed again without a known cause, and a faulty node is searched for"


def _restart_action(situation: Situation) -> tuple[Action, Placement | str | None]:
    """Return the action of a restart, and where it is in place, or why not where it may be."""
    if situation.attribution.category is Category.PROLOG_FAILED:
        return Action.RELEASE, None
    if situation.attribution.requeued:
        return Action.ADJUST, None
    if situation.allocation is None:
        return Action.REQUEUE, None
    if situation.may_move:
        return Action.REQUEUE, _MOVES
    if situation.is_searched:
        return Action.REQUEUE, _SEARCHES
    placement = place(situation.attribution, situation.allocation)
    return Action.REQUEUE if isinstance(placement, str) else placement.action, placement


def _why_not_in_place(situation: Situation, stop: _StopRule) -> str | None:
    """Return why a run that is restarted in place only is not; None: other rules stop it."""
    allocation = situation.allocation
    if stop.id != _REQUEUE_DISABLED or allocation is None or allocation.requeues:
        return None
    return why_not_in_place(situation.attribution, allocation)


_HELD = frozenset(
    {Category.HELD, Category.HELD_BY_SLURM, Category.PROLOG_FAILED, Category.RESERVATION_ENDED}
)
"""Causes of a job that Slurm holds until a person releases it, unless it is restarted.

Slurm also holds a job whose reservation is deleted. Its dependents wait too.
"""


def waits_for_person(category: Category, action: Action) -> bool:
    """Return whether a job with this decision is left held by Slurm until a person releases it."""
    return action is Action.LEAVE and category in _HELD


def _stop_action(situation: Situation, stop: _StopRule) -> Action:
    # A job that waits for a person is left to that person; one that Slurm has requeued for another
    # reason has to be cancelled.
    attribution = situation.attribution
    by_person = stop.id == _STOPPED and attribution.category is not Category.HELD
    if attribution.category in _HELD and not by_person:
        return Action.LEAVE
    if not (attribution.requeued or attribution.lost):
        return Action.LEAVE
    if attribution.category is Category.COMPLETED and not _uncounted_capped(situation):
        # The attempt runs once more: it ends as success at once, and its dependents are kept.
        if not attribution.lost:
            return Action.ADJUST
        return Action.REQUEUE if situation.requeueable else Action.CANCEL
    return Action.CANCEL


def _stop_reason(situation: Situation, stop: _StopRule) -> str:
    reason = stop.reason(situation)
    held = stop.id != _STOPPED and situation.attribution.category is Category.PROLOG_FAILED
    return f"{reason}: {_STAYS_HELD}" if held else reason


def _counted_as(situation: Situation) -> str:
    if not situation.is_capped:
        return "not counted"
    if situation.made:
        return "after progress"
    if situation.made is None:
        return "progress not known"
    count = f"restart {situation.streak.failures}/{situation.policy.max_restarts} without progress"
    if not situation.falls_back:
        return count
    step = situation.progress.step
    before = "" if step is None else f" before step {step}"
    return f"{count}, an earlier checkpoint{before} is next"


def _delay(situation: Situation, action: Action) -> int:
    # What has failed outside the job takes time to pass.
    if action.in_place and not situation.attribution.category.is_outside:
        return 0
    if situation.outside_failures and situation.policy.site.outside_backoff:
        return situation.policy.outside_delay(situation.outside_failures)
    return situation.policy.delay(
        situation.streak.restarts, progress=situation.made is True, run_time=situation.run_time
    )


def decide(situation: Situation) -> Decision:
    """Decide about one end. Every situation has an action and a reason."""
    failures, total = situation.streak.failures, situation.total
    falls_back = situation.falls_back
    stop = next(
        (
            stop
            for stop in _STOP_RULES
            if not (falls_back and stop.id in _AFTER_FALL_BACK) and stop.when(situation)
        ),
        None,
    )
    if stop is not None:
        return Decision(
            action=_stop_action(situation, stop),
            rule=stop.id,
            reason=_stop_reason(situation, stop),
            failures=failures,
            total=total,
            progress=situation.made,
            not_in_place=_why_not_in_place(situation, stop),
        )
    counts = situation.is_capped
    action, placement = _restart_action(situation)
    spent = situation.made is not None and failures >= situation.policy.max_restarts
    return Decision(
        action=action,
        rule="fall-back" if falls_back else "restart",
        reason=f"{situation.attribution.category.value}: {_counted_as(situation)}",
        failures=failures,
        total=total + counts,
        delay=_delay(situation, action) if counts else 0,
        last_chance=counts and (spent or total + 1 >= situation.policy.site.max_total_restarts),
        fall_back=falls_back,
        progress=situation.made,
        not_in_place=placement if isinstance(placement, str) else None,
        placement=placement if isinstance(placement, Placement) else None,
    )
