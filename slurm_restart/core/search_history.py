"""What the ends of a run say for the search for a faulty node."""

from slurm_restart.core.category import Category
from slurm_restart.core.history import History
from slurm_restart.core.in_place_ends import NONE_IN_PLACE
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.node_search import SEARCH_EVIDENCE, NodeSearch
from slurm_restart.core.restart_limits import Policy

WITHOUT_CAUSE = frozenset({Category.UNKNOWN, Category.SOFTWARE_CRASH})
REPEATS = WITHOUT_CAUSE | {Category.HANG, Category.NETWORK_FABRIC}
"""Causes of which two in a row in the same allocation lead to a search, and so to a requeue."""
MAY_BE_NODE = WITHOUT_CAUSE | frozenset(
    {
        Category.NUMERIC_NAN,
        Category.HANG,
        Category.NETWORK_FABRIC,
        Category.NETWORK_RENDEZVOUS,
        Category.HARDWARE_ACCELERATOR,
    }
)
"""Causes that one faulty node of several can bring about. File systems, services, data and
credentials fail for all nodes."""


def search_nodes(history: History, policy: Policy) -> NodeSearch:
    """Return what the ends of a run say; nothing where the search is off.

    What is older than `exclude_for` before the last end says nothing about the nodes of now. Of the
    attempts that failed in the same allocation before an end only one counts, and only to begin.
    """
    search = NodeSearch()
    if not policy.node_search:
        return search
    named = {
        exclusion.node
        for exclusion in history.exclusions
        if not exclusion.evidence.startswith(SEARCH_EVIDENCE)
    }
    short_attempt = policy.site.short_attempt
    for end in history.ends:
        failed = _failed(end, short_attempt, named)
        recent = end.at > history.ends[-1].at - policy.exclude_for
        if failed is None or not recent or not end.nodes:
            continue
        nodes, before = frozenset(end.nodes), end.in_place or NONE_IN_PLACE
        nan = end.category is Category.NUMERIC_NAN
        repeated = before.failures or before.fall_backs or (nan and before.same)
        if failed and not search.failures and repeated:
            search = search.after(nodes, failed=True, nan=nan)
        at_once = end.category in WITHOUT_CAUSE and _is_short(end, short_attempt)
        search = search.after(nodes, failed=failed, at_once=at_once, nan=nan)
    return search


def _is_short(end: EndEvent, short_attempt: int) -> bool:
    return end.run_time is not None and end.run_time < short_attempt


def _failed(end: EndEvent, short_attempt: int, named: set[str]) -> bool | None:
    """Return whether an attempt failed, maybe for a node, or ran on; None: it says nothing.

    Args:
        end: of the attempt.
        short_attempt: seconds; an attempt of unknown progress that failed earlier has made none.
        named: nodes that evidence names; a failure that they took part in is explained.
    """
    if end.progress or end.category is Category.COMPLETED:
        return False
    if end.run_time is None:
        return None
    short = _is_short(end, short_attempt)
    if end.category in MAY_BE_NODE and (short or end.progress is False):
        return True if named.isdisjoint(end.nodes) else None
    # Of a job without known progress only the time tells.
    return False if end.progress is None and not short else None
