"""Guess which node makes every attempt fail at once, from short failures without a cause.

On such a node everything fails within seconds, so that it is free again at once and Slurm gives it
to the next attempt too. The guess only moves a run elsewhere while enough other nodes are usable.
It blames no node, excludes none in the journal, and is computed anew from the ends each time.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from slurm_restart.core.category import Category
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.frozen import frozen

UNEXPLAINED = frozenset({Category.UNKNOWN, Category.SOFTWARE_CRASH})
"""Causes of a failure that a node may have without a line in the log that says so."""


@frozen
class Avoidance:
    """Nodes that the next attempt is not to use, as a guess."""

    nodes: tuple[str, ...]
    """To be avoided now; sorted, never empty."""
    suspects: tuple[str, ...]
    """All nodes that are suspected; sorted."""
    failures: int
    """Short failures in a row that lead to the suspicion; 0: those of an earlier time."""

    @property
    def reason(self) -> str:
        """One sentence for `explain` and AdminComment."""
        avoided = ", ".join(self.nodes)
        if not self.failures:
            return f"avoids {avoided} (a guess: attempts failed at once there, and ran elsewhere)"
        which = "the last attempt" if self.failures == 1 else f"the last {self.failures} attempts"
        among = "" if self.suspects == self.nodes else f", one of {len(self.suspects)} suspects"
        return f"avoids {avoided} (a guess{among}: {which} failed at once without a known cause)"


@dataclass
class _Suspicion:
    """What the ends so far say about the nodes."""

    suspects: frozenset[str] | None = None
    """Nodes that every short failure in a row had; None: there was none since the last success."""
    failures: int = 0
    confirmed: set[str] = field(default_factory=set)
    """Suspects without which an attempt ran for longer."""

    def add_failure(self, nodes: frozenset[str]) -> None:
        self.suspects = nodes if self.suspects is None else self.suspects & nodes
        self.failures += 1

    def add_success(self, nodes: frozenset[str]) -> None:
        self.confirmed = (self.confirmed | (self.suspects or frozenset())) - nodes
        self.suspects, self.failures = None, 0


def avoided_nodes(
    ends: Sequence[EndEvent],
    usable: Collection[str],
    *,
    needed: int | None = None,
    short_attempt: int = SitePolicy.short_attempt,
    blamed: Collection[str] = (),
) -> Avoidance | None:
    """Return the nodes that the next attempt is to avoid; None: there is no reason, or no choice.

    A job on one node avoids it after the first short failure. A larger job avoids half of the nodes
    that all its short failures in a row had in common, so that each failure halves the suspects.
    Once none is left, the nodes are not the reason. An attempt that runs for longer clears its own
    nodes, and confirms the suspicion of the others. Equal arguments give an equal result.

    Args:
        ends: of the run, in order.
        usable: nodes that the job could have otherwise, the suspected ones included.
        needed: nodes of the next attempt; None: as many as the last one had.
        short_attempt: seconds; an attempt that fails earlier is short.
        blamed: nodes that evidence names; a failure that they took part in is explained.
    """
    suspicion = _suspicion(ends, short_attempt, frozenset(blamed))
    if needed is None:
        needed = len(ends[-1].nodes) if ends else 0
    spare = len(set(usable)) - needed
    suspects = _usable(suspicion.suspects or (), usable)
    confirmed = _usable(suspicion.confirmed - set(suspects), usable)
    half = suspects[: (len(suspects) + 1) // 2]
    nodes = (*half, *confirmed)[: max(spare, 0)]
    if not nodes:
        return None
    return Avoidance(
        nodes=tuple(sorted(nodes)),
        suspects=tuple(sorted((*suspects, *confirmed))),
        failures=suspicion.failures,
    )


def _suspicion(ends: Iterable[EndEvent], short_attempt: int, blamed: frozenset[str]) -> _Suspicion:
    found = _Suspicion()
    for end in ends:
        nodes = frozenset(end.nodes)
        if end.progress or (end.run_time is not None and end.run_time >= short_attempt):
            found.add_success(nodes)
        elif nodes and end.run_time is not None and _unexplained(end, blamed):
            found.add_failure(nodes)
        # Any other end, such as a preemption, neither raises nor removes the suspicion.
    return found


def _unexplained(end: EndEvent, blamed: frozenset[str]) -> bool:
    return end.category in UNEXPLAINED and blamed.isdisjoint(end.nodes)


def _usable(names: Iterable[str], usable: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if name in usable))
