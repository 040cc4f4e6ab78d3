"""Read from a run's ends what each attempt says about its nodes: it failed, or it ran on."""

from collections.abc import Collection, Sequence

from slurm_restart.core.category import Category
from slurm_restart.core.history import History
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.restart_limits import Policy, SitePolicy
from slurm_restart.frozen import frozen

SEARCH_EVIDENCE = "search: "
"""How the evidence of an exclusion begins that the search itself has found."""
MAX_TRIALS = 12
"""Of the latest ones; what a search needs is less, and each costs time in the hook."""
_LONGER = 3
"""An attempt without known progress that lasted so many times longer than failures has run on."""
_UNEXPLAINED = frozenset(
    {
        Category.UNKNOWN,
        Category.SOFTWARE_CRASH,
        Category.NUMERIC_NAN,
        Category.HANG,
        Category.NETWORK_FABRIC,
        Category.NETWORK_RENDEZVOUS,
        Category.HARDWARE_ACCELERATOR,
    }
)
"""Causes that one faulty node of several can bring about. File systems, services, data and
credentials fail for all nodes."""


@frozen
class NodeTrial:
    """What one attempt says about its nodes."""

    nodes: frozenset[str]
    failed: bool
    """Whether it failed without progress and without a cause that explains it; else it ran on."""


def run_trials(history: History, policy: Policy) -> tuple[NodeTrial, ...]:
    """Return the attempts of a run that a search for a faulty node depends on, in order."""
    return node_trials(
        history.ends,
        short_attempt=policy.site.short_attempt,
        valid_for=policy.exclude_for,
        blamed={
            exclusion.node
            for exclusion in history.exclusions
            if not exclusion.evidence.startswith(SEARCH_EVIDENCE)
        },
    )


def node_trials(
    ends: Sequence[EndEvent],
    *,
    short_attempt: int = SitePolicy.short_attempt,
    valid_for: int = SitePolicy.exclude_for,
    blamed: Collection[str] = (),
) -> tuple[NodeTrial, ...]:
    """Return the attempts that a search for a faulty node depends on, in order.

    An attempt that ran on clears its nodes. Once all nodes of the failures before it are cleared,
    none of them is held against a node any more. Equal arguments give an equal result.

    Args:
        ends: of the run, in order.
        short_attempt: seconds; an attempt of unknown progress that fails earlier has made none.
        valid_for: seconds before the last end; what is older says nothing about the nodes of now.
        blamed: nodes that other evidence names; a failure that they took part in is explained.
    """
    trials: list[NodeTrial] = []
    longest: int | None = None
    for end in ends:
        if end.at < ends[-1].at - valid_for:
            continue
        failed = _outcome(end, longest, short_attempt, frozenset(blamed))
        if failed is None or not end.nodes:
            continue
        if failed:
            longest = max(longest or 0, end.run_time or 0)
        trials.append(NodeTrial(nodes=frozenset(end.nodes), failed=failed))
        if not suspected_nodes(trials):
            trials, longest = [], None
    return tuple(trials[-MAX_TRIALS:])


def suspected_nodes(trials: Sequence[NodeTrial]) -> frozenset[str]:
    """Return the nodes whose last attempt failed."""
    suspected: set[str] = set()
    for trial in trials:
        suspected = suspected | trial.nodes if trial.failed else suspected - trial.nodes
    return frozenset(suspected)


def _outcome(
    end: EndEvent, longest: int | None, short_attempt: int, blamed: frozenset[str]
) -> bool | None:
    """Return whether an attempt failed on account of its nodes, maybe; None: it says nothing.

    Args:
        end: of the attempt.
        longest: seconds that a failure before it took; None: there was none.
        short_attempt: see `node_trials`.
        blamed: see `node_trials`.
    """
    ran, short = end.run_time, (end.run_time or 0) < short_attempt
    if end.progress or end.category is Category.COMPLETED:
        return False
    if ran is None:
        return None
    if end.category in _UNEXPLAINED and (short or end.progress is False):
        if not short and longest is not None and ran >= _LONGER * longest:
            return False
        return True if blamed.isdisjoint(end.nodes) else None
    # Any other end, such as a preemption, says something only if it came late.
    return None if short else False
