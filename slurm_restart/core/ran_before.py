"""Doubt a mistake of the user: of a run that has run with the same input, or on one node alone."""

from collections.abc import Sequence
from dataclasses import replace

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.history import ends_at_step
from slurm_restart.core.in_place_ends import NONE_IN_PLACE, InPlaceEnds
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.one_node_mistake import is_doubtful, is_of_one_node, may_be_the_nodes
from slurm_restart.core.program_start import LONG
from slurm_restart.core.slurm_state import COMMAND_NOT_RUN
from slurm_restart.frozen import frozen

_MISTAKES = frozenset({Category.CONFIG, Category.CODE})
"""What does not change between the attempts of a job. A model may not compile for another number of
nodes, credentials expire, and disks become full."""


@frozen
class RunSoFar:
    """What is known of a run when one of its attempts ends.

    Args:
        ends: those before of the same job, in order.
        step: where the present end leaves the run; None: not known.
        made: whether the present attempt made progress; None: not known.
        in_place: ends in the same allocation that `ends` does not hold.
    """

    ends: Sequence[EndEvent]
    step: int | None = None
    made: bool | None = None
    in_place: InPlaceEnds = NONE_IN_PLACE
    nodes: Sequence[str] = ()
    """Those of the present attempt."""

    @property
    def has_run(self) -> bool:
        """Whether an attempt has run with the same input."""
        return bool(self.made) or any(map(_has_run, self.ends))


def doubted(found: Attribution, run: RunSoFar) -> Attribution:
    """Return an attribution; a mistake is put off if an attempt of the job has run with it.

    One that the processes of one node alone have found may be that node's fault: it has no known
    cause, and leads to the search for a faulty node.

    Config and program are those with which that attempt made progress, so that something else is
    likely to be wrong: a file system that is not mounted on a new node, an interrupted write. It is
    a counted restart without a known cause. If an attempt ends by the same rule again before there
    is progress, the mistake is believed.

    The job's own report is believed after restarts in place: its supervisor has asked the same with
    all ends one by one.
    """
    if _may_be_one_nodes(found, run):
        return replace(
            found, category=Category.UNKNOWN, confidence=Confidence.GUESS, of_one_node=True
        )
    if found.category not in _MISTAKES or not _may_be_wrong(found) or run.in_place.restarts:
        return found
    if not run.has_run:
        return found
    if any(end.rule == found.rule for end in ends_at_step(run.ends, run.step)):
        return found
    return replace(found, category=Category.UNKNOWN, confidence=Confidence.GUESS, put_off=True)


def _may_be_one_nodes(found: Attribution, run: RunSoFar) -> bool:
    if not is_doubtful(found) or not is_of_one_node(found, run.nodes):
        return False
    if found.category is Category.DATA_CORRUPT and run.has_run:
        # A bad record of a run that had good ones; unless the search for a node has begun with it.
        doubts = [end for end in run.ends if end.rule == found.rule]
        if not any(end.category is Category.UNKNOWN for end in doubts):
            return False
    same = [
        end.nodes
        for end in ends_at_step(run.ends, run.step)
        # Nothing has been tried on other nodes yet when a run fails for the first time.
        if end.rule == found.rule and not (end.progress and set(end.nodes) == set(run.nodes))
    ]
    return may_be_the_nodes(run.nodes, same)


def _may_be_wrong(found: Attribution) -> bool:
    """Return whether a mistake is that of a line of the log, or that no command could be run.

    What the supervisor itself finds wrong is wrong.
    """
    by_line = found.root_cause is not None or found.root_hash is not None
    return by_line or found.rule == COMMAND_NOT_RUN.rule


def _has_run(end: EndEvent) -> bool:
    """Return whether an attempt made progress or, where that is not known, ran for long."""
    if end.in_place is not None and end.in_place.progress:
        return True
    if end.progress is None:
        before = 0 if end.in_place is None else end.in_place.seconds
        return end.run_time is not None and before + end.run_time >= LONG
    return end.progress
