"""Doubt a mistake that the processes of one node alone have found, in a run of several nodes.

All ranks execute the same program with the same input: what is wrong in it is wrong everywhere. A
faulty node computes what others do not, and may show itself by any exception. So such an end has no
known cause until it has come on different nodes, or no other nodes could be tried.
"""

from collections.abc import Sequence

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Naming, Role
from slurm_restart.core.first_death import TASKS
from slurm_restart.core.root_cause import COMPLAINTS

MAX_DOUBTS = 4
"""Ends in a row of which that is said: the search for a faulty node finds it in as many."""
MAX_ON_SAME = 2
"""Of these, on exactly the same nodes: the search varies them as far as it can."""
_DOUBTED = frozenset({Category.CONFIG, Category.CODE, Category.DATA_CORRUPT, Category.OOM_HOST})


def is_doubtful(found: Attribution) -> bool:
    """Return whether a cause could be that of one faulty node, if that node alone reports it.

    Slurm and the kernel know whose memory was used up.
    """
    known = found.category is Category.OOM_HOST and found.confidence is Confidence.CERTAIN
    return found.category in _DOUBTED and found.root_cause is not None and not known


def is_of_one_node(found: Attribution, nodes: Sequence[str]) -> bool:
    """Return whether the processes of one node alone have found a mistake, of several nodes.

    They alone have ended of themselves, or most of the others say only that they have lost a peer.
    Another report of the same rule than theirs shows that others have found the same.

    Args:
        found: the cause, with the other findings of the log.
        nodes: those of the attempt.
    """
    exits = [each for each in found.secondary if each.naming is Naming.HOST]
    hosts = {host for each in exits for host in each.nodes}
    reports = 1 + sum(
        each.rule == found.rule and each.role is Role.ROOT for each in found.secondary
    )
    tasks = sum(map(_count_tasks, exits))
    if len(nodes) <= 1 or not hosts:
        return False
    of_node = -(-tasks // len(hosts))
    lost_peer = sum(each.category in COMPLAINTS for each in found.secondary)
    return reports <= of_node and lost_peer >= (tasks - of_node) / 2


def _count_tasks(line: Finding) -> int:
    """Return of how many tasks a line tells: `srun: error: csx3: tasks 4-6,8: Killed`."""
    found = TASKS.search(line.text)
    if found is None:
        return 1
    ends = [part.partition("-")[::2] for part in found[1].split(",")]
    return sum(1 + int(last or first) - int(first) for first, last in ends)


def may_be_the_nodes(nodes: Sequence[str], before: Sequence[Sequence[str]]) -> bool:
    """Return whether a node may be to blame for ends by the same rule.

    Args:
        nodes: those of the present end.
        before: those of the ends of the same rule before it since the last progress.
    """
    here, sets = frozenset(nodes), [frozenset(each) for each in before]
    if any(each.isdisjoint(here) for each in sets):
        return False
    return len(sets) < MAX_DOUBTS and sets.count(here) < MAX_ON_SAME
