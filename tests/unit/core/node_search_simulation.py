"""Simulates whole runs on clusters with faulty nodes, with the real search; seeded."""

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurm_restart.core.avoid_nodes import Room, avoided_nodes
from slurm_restart.core.node_search import node_suspects
from slurm_restart.core.node_trials import node_trials
from tests.unit.core import facts

if TYPE_CHECKING:
    from slurm_restart.core.journal_events import EndEvent

MAX_ATTEMPTS = 30
_MAX_STOPS = 8


@dataclass(frozen=True, kw_only=True)
class World:
    """A cluster and what makes attempts fail in it."""

    nodes: tuple[str, ...]
    faulty: frozenset[str] = frozenset()
    rate: float = 1.0
    """How often an attempt fails on account of one faulty node."""
    own: float = 0.0
    """How often it fails wherever it runs."""


@dataclass(frozen=True, kw_only=True)
class WorldKind:
    """What makes attempts fail, before it is drawn which nodes are faulty."""

    faulty: int = 0
    rate: float = 1.0
    own: float = 0.0

    def draw(self, nodes: int, generator: random.Random) -> World:
        """Return a cluster of so many nodes."""
        names = tuple(f"csx{number}" for number in range(1, nodes + 1))
        faulty = frozenset(generator.sample(names, self.faulty))
        return World(nodes=names, faulty=faulty, rate=self.rate, own=self.own)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """A run: its cluster, sizes and budget, and what happens to it apart from failures."""

    nodes: int
    wanted: int
    least: int
    max_restarts: int = 4
    stops: bool = True
    """Whether an attempt that is smaller for the search ends at its first checkpoint."""
    other_ends: int = 0
    """Ends such as time limits, after progress, before the run has finished."""


@dataclass
class Result:
    """What became of a run."""

    finished: bool = False
    found: set[str] = field(default_factory=set)
    failures: int = 0
    attempts: int = 0
    size: int = 0


class Run:
    """One run, from its first attempt on."""

    def __init__(self, world: World, settings: RunSettings, generator: random.Random) -> None:
        self._world, self._settings, self._random = world, settings, generator
        self._ends: list[EndEvent] = []
        self._result = Result()
        self._row = self._stops = self._others = 0

    def simulate(self) -> Result:
        """Return what becomes of it."""
        while self._result.attempts < MAX_ATTEMPTS:
            nodes = self._start()
            if self._attempt(nodes):
                self._row += 1
                self._result.failures += 1
                if self._row > self._settings.max_restarts:
                    break
            elif self._ends_here(nodes):
                self._result.finished = True
                break
        return self._result

    def _start(self) -> list[str]:
        free = self._free()
        size = min(len(free), self._settings.wanted)
        self._result.size = size
        return self._random.sample(free, size)

    def _free(self) -> list[str]:
        """Return the nodes that the next attempt may have."""
        usable = frozenset(self._world.nodes) - self._result.found
        room = Room(usable=usable, wanted=self._settings.wanted, least=self._settings.least)
        last_chance = self._row >= self._settings.max_restarts
        found = avoided_nodes(node_trials(self._ends), room, last_chance=last_chance)
        return sorted(usable - frozenset(found.nodes if found else ()))

    def _attempt(self, nodes: list[str]) -> bool:
        """Make an attempt, record its end, and return whether it failed."""
        bad = len(self._world.faulty.intersection(nodes))
        failed = self._random.random() < 1 - (1 - self._world.rate) ** bad
        failed = failed or self._random.random() < self._world.own
        end = facts.ended(nodes=tuple(nodes), run_time=5 if failed else 900, progress=not failed)
        self._ends.append(end)
        self._result.attempts += 1
        suspects = node_suspects(node_trials(self._ends))
        self._result.found |= {each.node for each in suspects if each.is_found}
        return failed

    def _ends_here(self, nodes: list[str]) -> bool:
        """Return whether the run finishes with an attempt that ran on."""
        self._row = 0
        larger = min(len(self._free()), self._settings.wanted) > len(nodes)
        if self._settings.stops and larger and self._stops < _MAX_STOPS:
            self._stops += 1
            return False
        self._others += 1
        return self._others > self._settings.other_ends


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of many runs, as shares."""

    finished: float
    found: float
    """Runs that found all faulty nodes."""
    blamed: float
    """Runs that excluded a healthy node."""
    most_failures: int
    size: float
    """The mean size of the last attempt."""


def simulate(settings: RunSettings, kind: WorldKind, *, runs: int) -> Summary:
    """Simulate so many runs, each in a world of its own; the same arguments give the same."""
    generator = random.Random(20251129)
    worlds = [kind.draw(settings.nodes, generator) for _ in range(runs)]
    results = [Run(each, settings, generator).simulate() for each in worlds]
    pairs = list(zip(worlds, results, strict=True))
    return Summary(
        finished=sum(result.finished for result in results) / runs,
        found=sum(each.faulty <= result.found for each, result in pairs) / runs,
        blamed=sum(bool(result.found - each.faulty) for each, result in pairs) / runs,
        most_failures=max(result.failures for result in results),
        size=sum(result.size for result in results) / runs,
    )
