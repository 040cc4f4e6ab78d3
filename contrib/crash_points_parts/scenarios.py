"""The scenarios of a walk over crash points: a run each, and the result that it must come to."""

from dataclasses import dataclass

from contrib.testing.scripted_runs import BLAMES_LAST_NODE, DONE, RUNS_UNTIL_KILLED, fails

EXCLUDED_FOR = 15
"""Seconds for which a blamed node is excluded in the scenarios that wait for the end of it."""
AFTER_EXCLUSION = f"await exclusion_over; {fails(step=5)}"
"""An attempt that fails, with progress, after the exclusion has run out."""


@dataclass(frozen=True, kw_only=True)
class End:
    """An end that has to be in the journal: its cause, and whether a restart follows."""

    category: str
    restarts: bool


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A run, what happens to it, and what must be true when all is at rest."""

    meaning: str
    attempts: tuple[str, ...]
    ends: tuple[End, ...]
    nodes: int = 1
    min_nodes: int | None = None
    max_restarts: int = 3
    fields: str = f"exclude={EXCLUDED_FOR}"
    state: str = "COMPLETED"
    later_phase: bool = False
    """Whether its dependent is a second phase of the run; otherwise it is an unmanaged job."""
    node_down: bool = False
    """Whether its last node is set DOWN during the first attempt."""
    sizes: tuple[int, ...] = ()
    """Nodes of each attempt; empty: its size."""
    blames: bool = False
    """Whether the last node of the first attempt is excluded from the next."""

    @property
    def lifted(self) -> bool:
        """Whether the exclusion is over when the last attempt starts."""
        return self.blames and not self.node_down


_COMPLETED = End(category="completed", restarts=False)
_UNKNOWN = End(category="unknown", restarts=True)
_ACCELERATOR = End(category="hardware.accelerator", restarts=True)

SCENARIOS = {
    "fail": Scenario(
        meaning="one node; an unknown failure, then success",
        attempts=(fails(), DONE),
        ends=(_UNKNOWN, _COMPLETED),
    ),
    "exclude": Scenario(
        meaning="a blamed node is excluded, also from the later phase, and then no longer",
        attempts=(BLAMES_LAST_NODE, AFTER_EXCLUSION, DONE),
        ends=(_ACCELERATOR, _UNKNOWN, _COMPLETED),
        nodes=2,
        later_phase=True,
        blames=True,
    ),
    "shrink": Scenario(
        meaning="four nodes, one blamed: three, and four again",
        attempts=(BLAMES_LAST_NODE, AFTER_EXCLUSION, DONE),
        ends=(_ACCELERATOR, _UNKNOWN, _COMPLETED),
        nodes=4,
        min_nodes=2,
        sizes=(4, 3, 4),
        blames=True,
    ),
    "wait": Scenario(
        meaning="four nodes are needed, one is blamed: the run waits for it",
        attempts=(BLAMES_LAST_NODE, DONE),
        ends=(_ACCELERATOR, _COMPLETED),
        nodes=4,
        blames=True,
    ),
    "nodefail": Scenario(
        meaning="a node goes down: it is excluded, also from the later phase",
        attempts=(RUNS_UNTIL_KILLED, DONE),
        ends=(End(category="hardware.node", restarts=True), _COMPLETED),
        nodes=2,
        fields="exclude=600",
        later_phase=True,
        node_down=True,
        blames=True,
    ),
    "final": Scenario(
        meaning="an error in the configuration: no restart",
        attempts=(fails("config"),),
        ends=(End(category="config", restarts=False),),
        state="FAILED",
    ),
    "budget": Scenario(
        meaning="a node goes down and no restart is left: Slurm has requeued it, it is cancelled",
        attempts=(RUNS_UNTIL_KILLED,),
        ends=(End(category="hardware.node", restarts=False),),
        nodes=2,
        max_restarts=0,
        # An evaluation never makes progress, so that its first failure uses up the budget.
        fields="mode=validate;exclude=600",
        state="CANCELLED",
        node_down=True,
    ),
}
