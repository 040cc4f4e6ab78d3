"""The events of a run's journal."""

from enum import Enum
from typing import NamedTuple

from slurm_restart.core.category import Category
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.frozen import frozen


class Action(Enum):
    """What is done about an end."""

    REQUEUE = "requeue"
    ADJUST = "adjust"
    """Slurm has requeued the job already: only its size, exclusions and begin time are set."""
    RELEASE = "release"
    """Slurm has requeued and held the job: adjust it and release it."""
    CANCEL = "cancel"
    """Slurm has requeued the job already, but it must not run again."""
    LEAVE = "leave"
    RELAUNCH = "relaunch"
    """The supervisor starts the next attempt in the same allocation; the hook sees no end."""
    RELAUNCH_SMALLER = "relaunch_smaller"
    """The same, on fewer of the allocation's nodes."""
    SWAP = "swap"
    """The same, with a spare node of the allocation in place of one that is left out."""

    @property
    def acts(self) -> bool:
        """Whether Slurm is asked for anything."""
        return self is not Action.LEAVE and not self.in_place

    @property
    def in_place(self) -> bool:
        """Whether the next attempt starts in the same allocation."""
        return self in (Action.RELAUNCH, Action.RELAUNCH_SMALLER, Action.SWAP)

    @property
    def restarts(self) -> bool:
        """Whether the job runs again."""
        return self not in (Action.CANCEL, Action.LEAVE)


class EndKey(NamedTuple):
    """What names an end of a job.

    The attempt stands beside SubmitTime because a job that waited in COMPLETING for a dead node
    keeps the SubmitTime of the attempt before (measured on 22.05). None: the attempt reported none.
    """

    submit_time: int
    attempt: int | None


@frozen
class EndEvent:
    """An end with its attribution and decision, which are final. Times are epoch seconds."""

    at: int
    submit_time: int
    restarts: int
    """Slurm's Restarts= when the end was seen."""
    requeued: bool
    category: Category
    rule: str
    action: Action
    reason: str
    attempt: int | None = None
    progress: bool | None = None
    """Whether the attempt made progress; None: not known yet."""
    from_step: int | None = None
    step: int | None = None
    unit: ProgressUnit = ProgressUnit.STEP
    """What `from_step` and `step` count."""
    root: str | None = None
    run_time: int | None = None
    num_nodes: int | None = None
    nodes: tuple[str, ...] = ()
    start_at: int | None = None
    """When the next attempt is to start."""
    failures: int = 0
    """Ends in a row without progress that counted, this end included, as counted then."""
    total: int = 0
    source: str = "hook"
    observed: bool = False
    """Decided in observe mode: nothing was done, and nothing is done later."""
    exit_code: int | None = None
    last_chance: bool = False
    """The next end without progress is final."""
    fall_back: bool = False
    """Restarted to start from an earlier checkpoint."""
    in_place: InPlaceEnds | None = None
    """Ends before this one in the same allocation, which no hook has seen; None: none."""

    @property
    def is_capped(self) -> bool:
        """Whether it counts: against the cap on all restarts, and without progress the budget."""
        return self.category.counts or self.fall_back

    @property
    def key(self) -> EndKey:
        """What names this end."""
        return EndKey(self.submit_time, self.attempt)

    @property
    def index(self) -> int:
        """Slurm's restart count while this attempt ran, which numbers the attempts from 0."""
        return self.restarts - self.requeued


@frozen
class ExcludeEvent:
    """A node was blamed; it is excluded until `until`."""

    at: int
    node: str
    until: int
    evidence: str
    submit_time: int


CLEARED = "a person took it off the job's list"
"""`why` of a ReadmitEvent: the node is no longer this plugin's to exclude."""


@frozen
class ReadmitEvent:
    """An exclusion has ended: it expired, a person cleared it, or Slurm had no other node."""

    at: int
    node: str
    why: str


@frozen
class IntendEvent:
    """What this plugin wants of a job, on disk before Slurm is asked. None: unchanged.

    A value that the job shows is this plugin's if any event of the run intends it.
    """

    at: int
    submit_time: int
    operations: tuple[str, ...]
    attempt: int | None = None
    exc_nodes: tuple[str, ...] | None = None
    """Without the nodes that people exclude, which stay in the list beside these."""
    num_nodes: int | None = None
    start_time: int | None = None

    @property
    def key(self) -> EndKey:
        """What names the end; a SubmitTime of 0 where no attempt of the job has ended."""
        return EndKey(self.submit_time, self.attempt)


@frozen
class OutcomeEvent:
    """The outcome of operations; `failed` is None where all succeeded."""

    at: int
    submit_time: int
    done: tuple[str, ...]
    failed: str | None = None
    attempt: int | None = None

    @property
    def key(self) -> EndKey:
        """What names the end."""
        return EndKey(self.submit_time, self.attempt)


@frozen
class AppliedEvent:
    """Values of this plugin that Slurm has accepted or that the job shows. None: not by this event.

    Only what was applied once can have been changed by a person since.
    """

    at: int
    exc_nodes: tuple[str, ...] | None = None
    """Without the nodes that people exclude, which stay in the list beside these."""
    num_nodes: int | None = None
    start_time: int | None = None
    held: bool | None = None
    """Written by releases up to 0.2, which held a job that waits for nodes."""


@frozen
class NoteEvent:
    """A note for people that changes nothing, such as a person's hold that was respected."""

    at: int
    text: str
    who: str | None = None
    """The administrator who has done what the text says; None: it is this plugin's note."""


@frozen
class StaleRunningEvent:
    """An attempt was seen RUNNING although its trainer had ended."""

    at: int
    submit_time: int
    attempt: int | None = None

    @property
    def key(self) -> EndKey:
        """What names the attempt."""
        return EndKey(self.submit_time, self.attempt)


@frozen
class StartedEvent:
    """An attempt was seen RUNNING, with the nodes that it holds."""

    at: int
    restarts: int
    """Slurm's restart count, which numbers the attempts from 0."""
    submit_time: int
    nodes: tuple[str, ...] = ()


@frozen
class FinalEvent:
    """The job was seen in a final state after its last end: a later requeue is a person's."""

    at: int
    restarts: int
    submit_time: int
    state: str


Event = (
    EndEvent
    | ExcludeEvent
    | ReadmitEvent
    | IntendEvent
    | OutcomeEvent
    | AppliedEvent
    | NoteEvent
    | StaleRunningEvent
    | StartedEvent
    | FinalEvent
)
