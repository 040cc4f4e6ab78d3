"""Choose the nodes that the next attempt leaves out, so that its outcome tells the most.

It follows failures that name no node. What is left out as a guess blames no node, is not in the
journal's exclusions, and is computed anew from the ends each time.
"""

from collections.abc import Sequence
from itertools import accumulate

from slurm_restart.core.node_search import Suspect, node_suspects
from slurm_restart.core.node_trials import NodeTrial
from slurm_restart.frozen import frozen

_CAREFUL = 3
"""Failures after which each further test is to fail less often."""


@frozen
class Room:
    """How many nodes there are to leave out."""

    usable: frozenset[str]
    """Nodes that the job could have otherwise, the suspected ones included."""
    wanted: int
    """Nodes of the next attempt."""
    least: int
    """The fewest that it can do with."""

    def spare(self, *, shrinks: bool) -> int:
        """Return how many nodes can be left out, with a smaller size if it may shrink."""
        needed = min(self.least if shrinks else self.wanted, len(self.usable))
        return len(self.usable) - needed


@frozen
class Avoidance:
    """Nodes that the next attempt is not to use, as a guess."""

    nodes: tuple[str, ...]
    """To be avoided now; sorted, never empty."""
    suspects: tuple[str, ...]
    """All nodes that are suspected; sorted."""
    failures: int
    """Failures that lead to the suspicion."""
    last_failed: bool
    """Whether the last attempt is one of them."""

    @property
    def reason(self) -> str:
        """One sentence for `explain` and AdminComment."""
        avoided = ", ".join(self.nodes)
        if not self.last_failed:
            return f"avoids {avoided} (a guess: attempts failed there, and ran elsewhere)"
        which = "the last attempt" if self.failures == 1 else f"{self.failures} attempts"
        among = "" if self.suspects == self.nodes else f", one of {len(self.suspects)} suspects"
        return f"avoids {avoided} (a guess{among}: {which} failed without a known cause)"


def avoided_nodes(
    trials: Sequence[NodeTrial], room: Room, *, last_chance: bool = False
) -> Avoidance | None:
    """Return the nodes that the next attempt is to avoid; None: there is no reason, or no choice.

    After a failure it leaves out the most suspected nodes that have half of the suspicion together,
    from the third failure on three quarters, and all of it if the next failure ends the run. After
    the first failure only where there are other nodes: most failures happen once. After the second
    one the attempt may be smaller instead. After an attempt that ran on, the suspects stay out
    where others replace them. Where the run is smaller without them, those with the least suspicion
    take part again: half of it, later a quarter, but one node at least.

    Args:
        trials: of the run, in order.
        room: the nodes.
        last_chance: whether the next failure ends the run.
    """
    suspects = [each for each in node_suspects(trials) if each.node in room.usable]
    if not suspects:
        return None
    failures = sum(trial.failed for trial in trials)
    if trials[-1].failed:
        share = 1.0 if last_chance else 0.75 if failures >= _CAREFUL else 0.5
        count = min(_most(suspects, share), room.spare(shrinks=failures > 1))
    elif len(suspects) <= room.spare(shrinks=False):
        count = len(suspects)
    else:
        share = 0.25 if failures >= _CAREFUL else 0.5
        tested = [each for each in reversed(suspects) if not each.is_likely]
        count = len(suspects) - (_most(tested, share) if tested else 0)
        count = min(count, room.spare(shrinks=True))
    if not count:
        return None
    return Avoidance(
        nodes=tuple(sorted(each.node for each in suspects[:count])),
        suspects=tuple(sorted(each.node for each in suspects)),
        failures=failures,
        last_failed=trials[-1].failed,
    )


def _most(suspects: Sequence[Suspect], share: float) -> int:
    """Return how many of them, from the first on, have so much of the suspicion together."""
    sums = list(accumulate(each.probability for each in suspects))
    return 1 + sum(value < share * sums[-1] - 1e-9 for value in sums[:-1])


def grows_after(trials: Sequence[NodeTrial], room: Room, avoidance: Avoidance) -> bool:
    """Return whether the attempt that avoids these nodes would be followed by a larger one.

    That is so where it is smaller than wanted, and it runs on: its nodes are cleared then, and some
    of those that it has left out take part again.
    """
    nodes = room.usable - set(avoidance.nodes)
    if len(nodes) >= room.wanted:
        return False
    after = avoided_nodes((*trials, NodeTrial(nodes=nodes, failed=False)), room)
    return after is None or len(after.nodes) < len(avoidance.nodes)
