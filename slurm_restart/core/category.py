"""The closed set of causes of an end, and what each means for a restart."""

from enum import Enum

from slurm_restart.frozen import frozen


class Restart(Enum):
    """Whether a restart can help."""

    YES = "yes"
    NO = "no"
    ONCE_PER_STEP = "once for the same step"
    UNTIL_REPEATED = "until the same line repeats at the same step"


class Nodes(Enum):
    """Which nodes the restart excludes; every excluded node needs evidence that names it."""

    NONE = "no"
    NAMED = "the named ones"
    CULPRIT = "only if a culprit is named"


class Category(Enum):
    """The cause of an end. The values are the names used in rules, records and output.

    The properties are the category's row in `_TREATMENTS`.
    """

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    USAGE_LIMIT = "usage_limit"
    RESERVATION_ENDED = "reservation_ended"
    HELD = "held"
    HELD_BY_SLURM = "held_by_slurm"
    COMPILE = "compile"
    CONFIG = "config"
    CODE = "code"
    AUTH = "auth"
    STORAGE_FULL = "storage.full"
    DEVICE_OOM = "memory.device_oom"
    HARDWARE_ACCELERATOR = "hardware.accelerator"
    HARDWARE_NODE = "hardware.node"
    NETWORK_FABRIC = "network.fabric"
    NETWORK_RENDEZVOUS = "network.rendezvous"
    STORAGE_IO = "storage.io"
    DEPENDENCY_SERVICE = "dependency.service"
    SOFTWARE_CRASH = "software.crash"
    DATA_CORRUPT = "data.corrupt"
    NUMERIC_NAN = "numeric.nan"
    HANG = "hang"
    OOM_HOST = "oom_host"
    CHECKPOINT_CORRUPT = "checkpoint.corrupt"
    TIMEOUT = "timeout"
    PREEMPTION = "preemption"
    REQUEUED = "requeued"
    PROLOG_FAILED = "prolog_failed"
    HEALTH_CHECK = "health_check"
    NODE_DRAINED = "node_drained"
    NODE_SEARCH = "node_search"
    UNKNOWN = "unknown"
    UNLISTED = "unlisted"

    @property
    def restart(self) -> Restart:
        """Whether a restart can help."""
        return _TREATMENTS[self].restart

    @property
    def recoverable(self) -> bool:
        """Whether a restart can help at all, under whatever condition."""
        return self.restart is not Restart.NO

    @property
    def counts(self) -> bool:
        """Whether a restart uses up the budget if the attempt made no progress."""
        return _TREATMENTS[self].counts

    @property
    def suspects_checkpoint(self) -> bool:
        """Whether such an end is evidence against the checkpoint that the attempt started from."""
        return _TREATMENTS[self].suspects_checkpoint

    @property
    def is_outside(self) -> bool:
        """Whether a file system or service failed that many jobs use at the same time."""
        return self in (Category.STORAGE_IO, Category.DEPENDENCY_SERVICE)

    @property
    def nodes(self) -> Nodes:
        """Which nodes the restart excludes."""
        return _TREATMENTS[self].nodes

    @property
    def meaning(self) -> str:
        """The cause in plain words, as a clause without a full stop."""
        return _TREATMENTS[self].meaning


@frozen
class _Treatment:
    """One row of the restart policy; see the properties of `Category`."""

    restart: Restart
    counts: bool
    nodes: Nodes
    meaning: str
    suspects_checkpoint: bool


def _no(meaning: str, *, suspects_checkpoint: bool = False) -> _Treatment:
    return _Treatment(
        restart=Restart.NO,
        counts=False,
        nodes=Nodes.NONE,
        meaning=meaning,
        suspects_checkpoint=suspects_checkpoint,
    )


def _yes(
    meaning: str,
    *,
    nodes: Nodes = Nodes.CULPRIT,
    counts: bool = True,
    restart: Restart = Restart.YES,
    suspects_checkpoint: bool = False,
) -> _Treatment:
    return _Treatment(
        restart=restart,
        counts=counts,
        nodes=nodes,
        meaning=meaning,
        suspects_checkpoint=suspects_checkpoint,
    )


# What a checkpoint holds can end a program as a wrong setting, an error in the program, NaN, too
# much memory or a crash, or without any known cause. Nodes, networks, file systems, credentials,
# full disks, the compiler, the device's memory and people who end a job do not depend on it.
_TREATMENTS: dict[Category, _Treatment] = {
    Category.COMPLETED: _no("the run has finished"),
    Category.CANCELLED: _no("a person cancelled the job"),
    Category.DEADLINE: _no("the job's deadline has passed"),
    Category.USAGE_LIMIT: _no("a usage limit of the association or QOS was reached"),
    Category.RESERVATION_ENDED: _no("the job's reservation has ended"),
    Category.HELD: _no("a person, or the site's RequeueExitHold, requeued the job on hold"),
    Category.HELD_BY_SLURM: _no(
        "Slurm itself holds the job after repeated launch or node failures: "
        "an administrator has to find the reason and release it"
    ),
    Category.COMPILE: _no("the model does not compile"),
    Category.CONFIG: _no("the configuration is wrong", suspects_checkpoint=True),
    Category.CODE: _no(
        "an error in the program: import, syntax, type, shape, assertion", suspects_checkpoint=True
    ),
    Category.AUTH: _no("a credential was refused"),
    Category.STORAGE_FULL: _no("no space or quota is left: a person must act"),
    Category.DEVICE_OOM: _no("the accelerator's memory is too small for this configuration"),
    Category.HARDWARE_ACCELERATOR: _yes("an accelerator is faulty", nodes=Nodes.NAMED),
    Category.HARDWARE_NODE: _yes("a node failed, rebooted, or lost its slurmd", nodes=Nodes.NAMED),
    Category.NETWORK_FABRIC: _yes("the interconnect failed"),
    Category.NETWORK_RENDEZVOUS: _yes("the ranks did not find each other at the start"),
    Category.STORAGE_IO: _yes("a file system failed"),
    Category.DEPENDENCY_SERVICE: _yes("a service outside the job failed: tracker, hub, DNS"),
    Category.SOFTWARE_CRASH: _yes(
        "a library crashed: segmentation fault, abort", suspects_checkpoint=True
    ),
    Category.DATA_CORRUPT: _yes(
        "a data record is bad: index out of range, device assertion",
        restart=Restart.UNTIL_REPEATED,
        suspects_checkpoint=True,
    ),
    Category.NUMERIC_NAN: _yes(
        "the loss became NaN", restart=Restart.UNTIL_REPEATED, suspects_checkpoint=True
    ),
    Category.HANG: _yes("no progress any more: watchdog, deadlock, stall"),
    Category.OOM_HOST: _yes(
        "the node's memory was used up",
        nodes=Nodes.NONE,
        restart=Restart.ONCE_PER_STEP,
        suspects_checkpoint=True,
    ),
    Category.CHECKPOINT_CORRUPT: _yes(
        "the checkpoint cannot be read: the one before it is used",
        nodes=Nodes.NONE,
        suspects_checkpoint=True,
    ),
    Category.TIMEOUT: _yes("the job's time limit was reached", nodes=Nodes.NONE),
    Category.PREEMPTION: _yes(
        "a job of higher priority took the nodes", nodes=Nodes.NONE, counts=False
    ),
    Category.REQUEUED: _yes("a person requeued the job", nodes=Nodes.NONE, counts=False),
    Category.PROLOG_FAILED: _yes(
        "a node's prolog failed before the job started", nodes=Nodes.NAMED
    ),
    Category.HEALTH_CHECK: _yes(
        "a node failed the health check before the program was started",
        nodes=Nodes.NAMED,
        counts=False,
    ),
    # Slurm itself starts nothing on a drained node, and takes it back once it is resumed.
    Category.NODE_DRAINED: _yes(
        "the site drains a node of the job", nodes=Nodes.NONE, counts=False
    ),
    Category.NODE_SEARCH: _yes(
        "ended at a checkpoint to go on with the search for a faulty node", nodes=Nodes.NONE
    ),
    Category.UNKNOWN: _yes("no known cause", suspects_checkpoint=True),
    Category.UNLISTED: _no("an end without a rule of its own gets no action"),
}

SLURM_ONLY = frozenset(
    {
        Category.HELD,
        Category.HELD_BY_SLURM,
        Category.PREEMPTION,
        Category.PROLOG_FAILED,
        Category.REQUEUED,
        Category.RESERVATION_ENDED,
        Category.UNLISTED,
    }
)
"""Categories that only Slurm can establish; a self-report that gives one is read as unknown.

They bypass the counters and `max_total_restarts`, release a held job, or keep it held, which no
user may bring about.
"""


class Confidence(Enum):
    """How sure an attribution is; a guess never blames a node and never stops a run."""

    CERTAIN = "certain"
    LIKELY = "likely"
    GUESS = "guess"
