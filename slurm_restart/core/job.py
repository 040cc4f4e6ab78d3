"""Facts of jobs, ends and nodes as Slurm shows them, in Slurm's terms. Times are epoch seconds."""

from enum import Enum

from slurm_restart.frozen import frozen

CRASH_SIGNALS = frozenset({4, 6, 7, 8, 11})
"""Those that a program brings upon itself: ILL, ABRT, BUS, FPE, SEGV."""


class JobState(Enum):
    """Base states of a job (Slurm's job_state_codes)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended."""
        return self not in (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED)


class JobFlag(Enum):
    """State flags, which Slurm sets beside the base state."""

    COMPLETING = "COMPLETING"
    CONFIGURING = "CONFIGURING"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    POWER_UP_NODE = "POWER_UP_NODE"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    RESIZING = "RESIZING"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    REVOKED = "REVOKED"
    RECONFIG_FAIL = "RECONFIG_FAIL"
    SIGNALING = "SIGNALING"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    STAGE_OUT = "STAGE_OUT"
    STOPPED = "STOPPED"
    UPDATE_DB = "UPDATE_DB"
    EXPEDITING = "EXPEDITING"


_REQUEUED_HELD = frozenset({JobFlag.REQUEUE_HOLD, JobFlag.SPECIAL_EXIT})


@frozen
class Job:
    """What Slurm shows of one job now.

    `state` is the base state, None where Slurm shows only a flag (COMPLETING in text output).
    """

    job_id: int
    uid: int
    state: JobState | None
    flags: frozenset[JobFlag] = frozenset()
    reason: str = "None"
    comment: str = ""
    admin_comment: str = ""
    submit_time: int | None = None
    eligible_time: int | None = None
    """The begin time while pending: not before this."""
    start_time: int | None = None
    """When the present attempt started (expected start while pending)."""
    end_time: int | None = None
    preempt_time: int | None = None
    time_limit: int | None = None
    """Seconds; None: no limit."""
    run_time: int | None = None
    """Seconds of the present attempt."""
    restarts: int = 0
    requeue: bool = True
    exit_code: int = 0
    signal: int = 0
    num_nodes: int = 1
    """The minimum while pending, the number held while running."""
    shown_nodes: int | None = None
    """The same by another field of Slurm's, if it differs: one of them is out of date."""
    num_cpus: int | None = None
    """CPUs of the whole job: the minimum while pending; None: not known."""
    nodes: tuple[str, ...] = ()
    exc_nodes: tuple[str, ...] = ()
    batch_host: str | None = None
    partitions: tuple[str, ...] = ()
    reservation: str | None = None
    features: str | None = None
    """The constraint expression of --constraint."""
    priority: int | None = None
    array_job_id: int | None = None
    """The id of the job array that the job belongs to; None: to none."""
    array_task_id: int | None = None
    """The job's task of that array; None: it belongs to none, or stands for several tasks."""
    std_out: str | None = None
    work_dir: str | None = None
    min_cpus: int | None = None
    """CPUs that each node must have; None: not known, like the three below."""
    min_memory: int | None = None
    """Memory of each node, or for each CPU, in MB; 0: no request."""
    min_tmp_disk: int | None = None
    """Temporary disk of each node in MB."""
    tres_per_node: str | None = None
    """Generic resources of each node in Slurm's form: `gres:gpu:4`, `gres/gpu:a100:4`."""

    @property
    def name(self) -> str:
        """What names this job alone in a request to Slurm: `123`, for a task of an array `120_4`.

        The last task of an array that starts has the job id of the array: a request for that id
        changes, requeues or cancels all tasks (measured on 22.05, 24.11 and 26.05).
        """
        if self.array_job_id is None or self.array_task_id is None:
            return str(self.job_id)
        return f"{self.array_job_id}_{self.array_task_id}"

    @property
    def is_waiting_array(self) -> bool:
        """Whether the job stands for those tasks of an array that have never started."""
        return self.array_job_id is not None and self.array_task_id is None

    @property
    def running(self) -> bool:
        """Whether the job runs, and is not ending."""
        return self.state is JobState.RUNNING and not self.completing

    @property
    def completing(self) -> bool:
        """Whether the job's end is still being completed."""
        return JobFlag.COMPLETING in self.flags

    @property
    def over(self) -> bool:
        """Whether the job has ended and nothing of its end is left to complete."""
        return self.state is not None and self.state.is_final and not self.completing

    @property
    def held(self) -> bool:
        """Whether the job waits for a release (Slurm's priority 0)."""
        return self.priority == 0 and (self.state is JobState.PENDING or self.requeued_held)

    @property
    def requeued_held(self) -> bool:
        """Whether squeue shows a flag in place of PENDING: requeued and held, by a person or Slurm.

        RequeueExitHold sets SPECIAL_EXIT, `scontrol requeuehold` REQUEUE_HOLD (measured on 22.05).
        """
        return self.state is None and bool(self.flags & _REQUEUED_HELD) and not self.completing


@frozen
class NodeState:
    """What Slurm shows of one node; partitions it is in, as names."""

    name: str
    state: str
    """Base state in upper case: IDLE, ALLOCATED, MIXED, DOWN, ERROR, FUTURE, UNKNOWN."""
    flags: frozenset[str] = frozenset()
    """Upper case: DRAIN, FAIL, MAINTENANCE, NOT_RESPONDING, POWERED_DOWN, REBOOT_REQUESTED …"""
    reason: str = ""
    reason_time: int | None = None
    partitions: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()
    cpus: int | None = None
    """All CPUs of the node, used or not; None: not known, like the three below."""
    memory: int | None = None
    """RealMemory in MB."""
    tmp_disk: int | None = None
    """TmpDisk in MB."""
    gres: str | None = None
    """Configured generic resources in Slurm's form: `gpu:a100:4(S:0-1)`; empty: none."""
    last_busy: int | None = None
    """Until when the node ran a job or could not be used, in epoch seconds."""

    @property
    def down(self) -> bool:
        """Whether Slurm has set the node down or gets no response from it."""
        return self.state in ("DOWN", "ERROR") or "NOT_RESPONDING" in self.flags

    @property
    def drained(self) -> bool:
        """Whether no further job is to start here: drained, or failing."""
        return bool(self.flags & {"DRAIN", "FAIL"})

    @property
    def prolog_failed(self) -> bool:
        """Whether Slurm has drained the node because its prolog failed (its reason then)."""
        return self.reason.startswith(_PROLOG_FAILED)

    @property
    def healthy(self) -> bool:
        """Whether Slurm would start a job here once the node is free: busy counts as healthy.

        UNKNOWN is every free node's state for the first seconds after a restart of slurmctld
        (4 s, measured), which must neither shrink nor hold a run.
        """
        known = self.state in ("IDLE", "ALLOCATED", "MIXED", "UNKNOWN")
        return known and not self.flags & _UNUSABLE_FLAGS

    @property
    def idle(self) -> bool:
        """Whether a job could start here now."""
        return self.healthy and self.state == "IDLE" and "COMPLETING" not in self.flags

    @property
    def planned(self) -> bool:
        """Whether Slurm keeps the idle node for a pending job (PLANNED; the job is not shown)."""
        return "PLANNED" in self.flags


_PROLOG_FAILED = "Prolog error"
_UNUSABLE_FLAGS = frozenset(
    {"DRAIN", "FAIL", "MAINTENANCE", "NOT_RESPONDING", "REBOOT_ISSUED", "INVALID_REG", "DOWN"}
)


@frozen
class PartitionState:
    """What Slurm shows of one partition."""

    name: str
    state: str = "UP"
    """UP, DOWN (jobs wait), DRAIN (no new jobs, waiting ones start), INACTIVE."""
    max_nodes: int | None = None
    """The most nodes of one job (MaxNodes); None: no limit."""
    grace_time: int = 0
    """Seconds between a preemption and its TERM and KILL (GraceTime)."""
    qos: str | None = None
    """The QOS whose limits hold for jobs in this partition; None: none."""

    @property
    def starts_jobs(self) -> bool:
        """Whether Slurm starts waiting jobs here."""
        return self.state not in ("DOWN", "INACTIVE")


@frozen
class JobEnd:
    """The end of one attempt, from Slurm's hook environment and job record.

    No field holds text that a user wrote.
    """

    cluster: str
    job_id: int
    uid: int
    submit_time: int
    """SubmitTime shown while COMPLETING; with cluster and job id it names this end."""
    exit_code: int
    signal: int
    reason: str
    state: JobState | None = None
    """Base state where Slurm shows it; PENDING means that Slurm has requeued the job already."""
    restarts: int = 0
    """Slurm's Restarts= now."""
    env_restarts: int | None = None
    """SLURM_RESTART_COUNT of the hook; None where the end was found by a sweep."""
    flags: frozenset[JobFlag] = frozenset()
    lost: bool = False
    """slurmctld, killed at once, has lost the end: it shows the job RUNNING, or PENDING if it has
    lost the start as well."""
    preempted: bool = False
    """Slurm shows a PreemptTime of this very attempt; the base state PREEMPTED is no proof."""
    reserved: bool = False
    """The job runs in a reservation."""
    nodes: tuple[str, ...] = ()
    """The attempt's nodes. A job that is pending again shows none: the caller then gives them."""
    time_limit: int | None = None
    """Seconds; None: no limit."""
    run_time: int | None = None
    """Seconds; None: not known. A requeue resets them."""
    down_nodes: tuple[NodeState, ...] = ()
    """Those of `nodes` that are down, not responding, or drained by a failed prolog now."""
    host_lost: bool = False
    """Slurm had lost the batch host, and kept the job without it (--no-kill)."""
    drained: bool = False
    """One of `nodes` is drained, or failing, by a person or the site's own check."""
