"""How many nodes, and which, the search for a faulty node can leave out of the next attempt."""

from collections.abc import Collection
from dataclasses import replace

from slurm_restart.frozen import frozen


@frozen
class Room:
    """The nodes there are for the next attempt, and how many of them it needs."""

    usable: frozenset[str]
    """Nodes that the job could have otherwise, the suspected ones included."""
    wanted: int
    """Nodes of the next attempt."""
    least: int
    """The fewest that it can do with."""
    busy: frozenset[str] = frozenset()
    """Those of `usable` that are not to be waited for, as other jobs hold them."""

    def pick(self, names: Collection[str], count: int, *, shrinks: bool) -> tuple[str, ...]:
        """Return which of these usable nodes are left out: so many, or fewer; sorted.

        Enough others stay, and as many of them can be had now as without `busy`. The busy ones are
        left out first: the attempt is without them in any case.

        Args:
            names: the nodes to choose from.
            count: how many at most.
            shrinks: whether the attempt may have fewer nodes than `wanted`.
        """
        needed = self.least if shrinks else self.wanted
        count = min(count, max(0, len(self.usable) - needed))
        busy = sorted(self.busy.intersection(names))[:count]
        most = max(0, len(self.usable - self.busy) - needed)
        others = sorted(set(names) - self.busy)[: min(count - len(busy), most)]
        return tuple(sorted((*busy, *others)))

    def without(self, names: Collection[str]) -> "Room":
        """Return the room that is left when these nodes are left out."""
        left = set(names)
        return replace(self, usable=self.usable - left, busy=self.busy - left)
