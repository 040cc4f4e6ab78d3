"""Search for a faulty node that no log names, by what the ends of a run say about its nodes.

A suspect is a node that took part in every failure without a known cause, and in no attempt since
that ran on. The next attempts leave suspects out by halves until one is left. It is excluded once
it has predicted enough outcomes. Where no single node explains all failures, several may be faulty:
the run then leaves the doubtful nodes, on which it has failed and not run on since, and excludes
none. `tests/unit/core/test_node_search_rates.py` measures how often that is wrong. Nothing here is
kept: `search_history` computes it from the journal each time.
"""

from dataclasses import replace

from slurm_restart.core.search_room import Room
from slurm_restart.core.slurm_operations import SearchMark
from slurm_restart.frozen import frozen

MIN_FAILURES = 4
"""A node is found if it took part in so many failures, all there were, and was the only suspect"""
MIN_PREDICTED = 6
"""in so many attempts: each failed with it and ran on without it. By chance, if attempts fail at
random in half of the cases, that happens once in 64 searches."""
MAX_ATTEMPTS = 18
"""Attempts of one search after which none ends for it any more."""
SEARCH_EVIDENCE = "search: "
"""How the evidence of an exclusion begins that the search itself has found."""
_MOST_LEFT_OUT_FROM = MIN_FAILURES - 1
"""Failures from which on three quarters of the suspects are left out, not half of them."""
_MAX_NAMES = 8


@frozen
class Avoidance:
    """Nodes that the next attempt leaves out as a guess."""

    nodes: tuple[str, ...]
    """Sorted; none where the suspects are to take part."""
    reason: str
    """One sentence for AdminComment."""
    mark: SearchMark | None
    """What the search wants of the attempt; None: one failure alone begins no search."""
    tested: frozenset[str] = frozenset()
    """The suspects that are to take part."""

    def is_tested_on(self, nodes: frozenset[str]) -> bool:
        """Return whether an attempt on these nodes alone is one of the search, which tells as much.

        It ends at its first checkpoint, so that its size matters little.
        """
        return self.mark is SearchMark.OPEN and (not self.tested or bool(self.tested & nodes))


@frozen
class NodeSearch:
    """What the attempts so far say about the nodes of a run."""

    suspects: frozenset[str] = frozenset()
    """Empty before the first failure, and once the nodes are not the reason."""
    failures: int = 0
    """Since the first failure, with it: attempts that failed."""
    ran: int = 0
    """Attempts that ran on, none with a suspect."""
    predicted: int = 0
    """Attempts, of both kinds, since there is one suspect only."""
    last_failed: bool = False
    at_once: bool = False
    """Whether the first failure came within a short time without a known cause."""
    nan: bool = False
    """Whether the last failure was NaN: if it comes on other nodes too, it is the run's own."""
    over: bool = False
    """No node explains all failures of this time: it is the run's own fault, or several nodes'."""
    cleared: frozenset[str] = frozenset()
    """Nodes of the attempts that ran on since the first failure."""
    doubtful: frozenset[str] = frozenset()
    """Nodes of the failures that are not cleared. Once an attempt on cleared nodes alone has
    failed, the nodes are not the reason, and none is cleared or doubtful any more."""

    def after(
        self, nodes: frozenset[str], *, failed: bool, at_once: bool = False, nan: bool = False
    ) -> "NodeSearch":
        """Return the search after one more attempt, on these nodes."""
        if not (failed or self.failures or self.over):
            return self
        if self.found is not None and self.found not in nodes:
            # It is left out, and explains all before; another node may become faulty.
            return NodeSearch().after(nodes, failed=failed, at_once=at_once)
        cleared, doubtful = self._sort(nodes, failed=failed)
        if self.over:
            return replace(self, cleared=cleared, doubtful=doubtful)
        if not self.failures:
            found = NodeSearch(suspects=nodes, failures=1, last_failed=True, doubtful=doubtful)
            return replace(found, at_once=at_once, nan=nan)
        left = self.suspects & nodes if failed else self.suspects - nodes
        if not left:
            # A single failure, after which all its nodes have run, is forgotten.
            is_over = self.failures + failed > 1
            over = NodeSearch(over=True, cleared=cleared, doubtful=doubtful)
            return over if is_over else NodeSearch()
        return replace(
            self,
            suspects=left,
            cleared=cleared,
            doubtful=doubtful,
            failures=self.failures + failed,
            ran=self.ran + (not failed),
            predicted=self.predicted + (len(self.suspects) == 1),
            last_failed=failed,
            nan=nan if failed else self.nan,
        )

    def _sort(
        self, nodes: frozenset[str], *, failed: bool
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Return the cleared and the doubtful nodes after an attempt."""
        if self.over and not self.cleared:
            return frozenset(), frozenset()
        if not failed:
            return self.cleared | nodes, self.doubtful - nodes
        if nodes <= self.cleared:
            return frozenset(), frozenset()
        return self.cleared, self.doubtful | (nodes - self.cleared)

    @property
    def found(self) -> str | None:
        """The node that is to be excluded."""
        enough = self.failures >= MIN_FAILURES and self.predicted >= MIN_PREDICTED
        return next(iter(self.suspects)) if enough and len(self.suspects) == 1 else None

    @property
    def evidence(self) -> str:
        """Why the node that is found is excluded."""
        return (
            f"{SEARCH_EVIDENCE}all {self.failures} attempts on it failed without a known cause, "
            f"all {self.ran} without it ran on; it alone predicted {self.predicted} outcomes, "
            f"{MIN_PREDICTED} suffice"
        )

    def avoid(self, room: Room, *, last_chance: bool, is_patient: bool = True) -> Avoidance | None:
        """Return what the next attempt is to leave out; None: there is no reason.

        As a rule the attempt can start without the nodes that other jobs hold, if the others are
        enough. It waits for them if it could leave out nothing otherwise. Once it is to leave out
        as many as possible (see `_count`), it waits if it could leave out fewer otherwise.

        Args:
            room: the nodes there are.
            last_chance: whether the next failure ends the run.
            is_patient: whether the attempt may wait for nodes that other jobs hold.
        """
        later = self._choose(replace(room, busy=frozenset()), last_chance=last_chance)
        if later is None or len(room.usable - room.busy) < room.least:
            return later
        now = self._choose(room, last_chance=last_chance)
        if now is None or not is_patient or self.failures == 1:
            return now
        most = last_chance or self.over or self.failures >= _MOST_LEFT_OUT_FROM
        expected = len(later.nodes) if most else min(1, len(later.nodes))
        return now if len(now.nodes) >= expected else later

    def _choose(self, room: Room, *, last_chance: bool) -> Avoidance | None:
        doubtful = sorted(self.doubtful & room.usable)
        if self.over:
            return self._leave_doubtful(room, doubtful)
        suspects = sorted(self.suspects & room.usable)
        if not suspects:
            return None
        count = self._count(len(suspects), last_chance=last_chance)
        nodes = room.pick(suspects, count, shrinks=self.failures > 1)
        if last_chance and self.failures > 1:
            nodes = _with_doubtful(nodes, doubtful, room)
        reason = self._reason(suspects, nodes)
        if self.failures == 1:
            return Avoidance(nodes=nodes, reason=reason, mark=None) if nodes else None
        goes_on = self._goes_on(room, room.usable - set(nodes))
        mark = SearchMark.OPEN if goes_on else SearchMark.ON
        return Avoidance(
            nodes=nodes, reason=reason, mark=mark, tested=frozenset(suspects).difference(nodes)
        )

    def _leave_doubtful(self, room: Room, doubtful: list[str]) -> Avoidance | None:
        """Leave out all doubtful nodes if enough others stay, of which some may be `busy`."""
        suffices = len(room.usable) - len(doubtful) >= room.least
        nodes = room.pick(doubtful, len(doubtful), shrinks=True)
        if not nodes or not suffices or not self.cleared:
            return None
        return Avoidance(nodes=nodes, reason=_reason_of_doubt(nodes), mark=SearchMark.ON)

    def _count(self, suspects: int, *, last_chance: bool) -> int:
        """Return how many of so many suspects are to be left out: half, later three quarters.

        After one failure, which came at once, half of them if other nodes replace them. A last
        suspect is tested with an attempt on it as long as the failures do not suffice. After NaN
        all are left out: mostly it is the run's own fault, which other nodes show at once.
        """
        if self.failures == 1:
            half = (suspects + 1) // 2 if self.last_failed else suspects
            return half if self.at_once else 0
        if suspects == 1:
            return int(self.last_failed or last_chance or self.failures >= MIN_FAILURES)
        if last_chance or (self.nan and self.last_failed):
            return suspects
        part = 4 if self.failures >= _MOST_LEFT_OUT_FROM else 2
        return suspects - max(1, suspects // part)

    def _goes_on(self, room: Room, nodes: frozenset[str]) -> bool:
        # Where there are more than it needs, the attempt may not get the suspects.
        certain = nodes if len(nodes) <= room.wanted else nodes - self.suspects
        after = self.after(certain, failed=False)
        unfinished = after.failures > 1 and after.found is None
        return unfinished and self.failures + self.ran < MAX_ATTEMPTS

    def _reason(self, suspects: list[str], nodes: tuple[str, ...]) -> str:
        if self.failures == 1:
            ran = ", and others ran elsewhere" if self.ran else ""
            why = f"an attempt failed at once there without a known cause{ran}"
            return f"avoids {_names(nodes)} (a guess: {why})"
        return (
            f"searches for a faulty node (a guess): {self.failures} attempts without a known cause "
            f"failed on {_names(suspects)}, {self.ran} without ran on; the next one leaves out "
            f"{_names(nodes) if nodes else 'none of them'}"
        )


def _with_doubtful(nodes: tuple[str, ...], doubtful: list[str], room: Room) -> tuple[str, ...]:
    """Return these nodes and doubtful ones, as many as can be left out together.

    Where not all can be left out, it is every other one. The halves of the suspects are in the
    order of the names, and two faulty nodes in different halves could not be left out by one half.
    """
    others, rest = [node for node in doubtful if node not in nodes], room.without(nodes)
    left = rest.pick(others, len(others), shrinks=True)
    if len(left) < len(others):
        left = rest.pick(others[::2], len(others), shrinks=True)
    return tuple(sorted((*nodes, *left)))


def _reason_of_doubt(nodes: tuple[str, ...]) -> str:
    return (
        f"avoids {_names(nodes)} (a guess: attempts without a known cause failed there, and no "
        "single node explains all failures)"
    )


def _names(nodes: list[str] | tuple[str, ...]) -> str:
    return ", ".join(nodes) if len(nodes) <= _MAX_NAMES else f"{len(nodes)} nodes"
