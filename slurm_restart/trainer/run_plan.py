"""The plan of one phase, plan.json: written by `csx-sbatch`, read by the supervisor."""

import json
import re
from dataclasses import field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from slurm_restart.core.array_task import run_of_task
from slurm_restart.core.checkpoint_url import is_url
from slurm_restart.core.job_comment import (
    MAX_NODES,
    MAX_RESTARTS,
    MAX_SECONDS,
    CommentRecord,
    Mode,
)
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.core.record_reader import (
    Argument,
    Range,
    Text,
    parse_json,
    read_object,
    to_data,
    unknown_keys,
)
from slurm_restart.core.recovery import Recovery
from slurm_restart.core.watchdog_settings import WatchdogSettings
from slurm_restart.errors import RecordError, StateError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.health_check import HealthCheck

SCHEMA = 1
WARN_AFTER = 1800
FILE_NAME = "plan.json"
MAX_BYTES = 4 << 20
LONG_ATTEMPT = 3600
"""Seconds: a program that fails at its start or soon after it does not last so long."""

_Nodes = Annotated[int, Range(1, MAX_NODES)]
_Spares = Annotated[int, Range(0, MAX_NODES)]
_Restarts = Annotated[int, Range(0, MAX_RESTARTS)]
_Seconds = Annotated[int, Range(0, MAX_SECONDS)]
_Phase = Annotated[int, Range(0, 10_000)]
_Task = Annotated[int, Range(0, 2**32)]
STOP_SIGNALS = ("TERM", "INT", "USR1", "USR2", "HUP")
"""Names, without SIG, of the signals that may ask the trainer to save and end."""
DEFAULT_SIGNAL_LEAD = 120
_StopSignal = Annotated[str, Text(values=frozenset(STOP_SIGNALS))]


class CheckpointFormat(Enum):
    """How the step and the completeness of a checkpoint are determined."""

    MDL = "mdl"
    """One HDF5 file with `__SUCCESS__` and the step as attributes; `complete` is not used."""
    TORCH = "torch"
    """A file of `torch.save`."""
    SAFETENSORS = "safetensors"
    HF = "hf"
    """A directory of Hugging Face's Trainer."""
    LIGHTNING = "lightning"
    """A file of PyTorch Lightning."""
    DCP = "dcp"
    """A directory of torch.distributed.checkpoint."""
    DEEPSPEED = "deepspeed"
    """A directory of DeepSpeed."""
    ORBAX = "orbax"
    """A directory of Orbax (JAX)."""
    KERAS = "keras"
    HDF5 = "hdf5"
    NPZ = "npz"
    """A file of `numpy.savez`."""
    AUTO = "auto"
    """One of the above, as each checkpoint shows; one that shows none is complete as in ANY."""
    ANY = "any"
    """Any file or directory, which is not opened; completeness is as in `complete`."""
    NONE = "none"
    """The run is not known to write any: each attempt starts as the first one does."""

    @property
    def is_opened(self) -> bool:
        """Whether the content of checkpoints shows that they are complete."""
        return self not in (CheckpointFormat.ANY, CheckpointFormat.NONE)


class StopReceiver(Enum):
    """Who gets the signal ahead of the time limit."""

    GROUP = "group"
    """The trainer's process group."""
    SCRIPT = "script"
    """The first process alone, as with `--signal=B:…` of sbatch."""
    STEPS = "steps"
    """The tasks of the job's steps, as with `--signal=…` of sbatch."""


@frozen
class CheckpointLayout:
    """Where checkpoints are written and how they are recognised."""

    directory: Argument
    """Absolute path; or a URL without a slash at its end, which this package never reads."""
    pattern: Argument
    """Regular expression that a name must match in full. With a `/` in it: one for each level below
    `directory`. Groups: `step` (always there), and optional: `epoch` (sorts before the step),
    `stamp` (distinguishes checkpoints of the same step, the later sorts last)."""
    format: CheckpointFormat = CheckpointFormat.MDL
    complete: Argument | None = None
    """None: a file with its final name is complete. Else a path, with `{path}` for that of the
    checkpoint, that exists once it is complete, such as `{path}.done` or `{path}/DONE`."""
    written: Argument = ""
    """The pattern as people write it, such as `step-{step}.pt`, for messages."""
    warn_after: _Seconds = WARN_AFTER
    """Seconds of an attempt without a checkpoint after which the user is told."""
    saved: Argument | None = None
    """Below a URL: regular expression of a line of output that says that a checkpoint was saved;
    its group `path` is the URL, or the name below `directory`. None: see `saved_lines`."""
    unknown: dict[str, Any] = unknown_keys()

    @property
    def is_remote(self) -> bool:
        """Whether only the trainer's output shows what checkpoints there are."""
        return is_url(self.directory)


@frozen
class ProgressMeasure:
    """What shows the progress of a run without known checkpoints: the first that is given.

    If none is, attempts that last longer than `LONG_ATTEMPT` have made progress.
    """

    pattern: Argument | None = None
    """Regular expression over lines of output; its first group is the step."""
    file: Argument | None = None
    """Absolute path of a file that grows while the run gets on."""
    after: _Seconds | None = None
    """An attempt that lasted longer has made progress."""
    unknown: dict[str, Any] = unknown_keys()


@frozen
class LoopFacts:
    """Length of a run as in the config. None: not given."""

    max_steps: int | None = None
    """The last global step: absolute, independent of the first step."""
    num_steps: int | None = None
    """Steps (or epochs of a known length) of this run. The trainer counts them from the step at
    which it starts, so a restart needs `last_step` as its max_steps."""
    unknown_epochs: bool = False
    """Whether the length is in epochs whose number of steps only the data determines."""
    unknown: dict[str, Any] = unknown_keys()

    def last_step(self, first_step: int) -> int | None:
        """Return the step at which the run is complete; None: not known.

        With `unknown_epochs` it may be complete earlier. `first_step` is where attempt 0 of the
        phase started.
        """
        ends = [] if self.max_steps is None else [self.max_steps]
        if self.num_steps is not None:
            ends.append(first_step + self.num_steps)
        return min(ends, default=None)


@frozen
class RestartPolicy:
    """Restart policy as requested at submission. None: the site's default. Times in seconds."""

    max_restarts: _Restarts
    stop_on_repeat: _Restarts | None = None
    shrink_after: _Seconds | None = None
    give_up_after: _Seconds | None = None
    exclude_for: _Seconds | None = None
    node_search: bool = True
    recovery: Recovery = Recovery.REQUEUE
    """Whether attempts may start in the allocation of the one before."""
    relaunch_min_time: _Seconds | None = None
    """Seconds before the warning of the time limit that have to be left for that. None: it depends
    on the time limit."""
    self_requeue: bool = False
    """The supervisor requeues the job, as no hook does."""
    max_total_restarts: _Restarts | None = None
    """The site's caps, for restarts that it does not see: in place, or by the supervisor."""
    max_uncounted_restarts: _Restarts | None = None
    backoff: tuple[_Seconds, ...] | None = None
    """Waits before restarts without progress, where the supervisor requeues the job."""
    unknown: dict[str, Any] = unknown_keys()


@frozen
class SlurmAccess:
    """How Slurm was reached at submission; used if the job's environment does not define it.

    Absolute paths. `conf` is None where SLURM_CONF was not set.
    """

    bin_dir: Argument
    conf: Argument | None = None
    unknown: dict[str, Any] = unknown_keys()


@frozen
class RunPlan:
    """One phase, one job, one run directory."""

    run: str
    """Run id, 16 hexadecimal digits, shared by all phases of a submission."""
    phase: _Phase
    phases: _Phase
    mode: Mode
    num_nodes: _Nodes
    """Nodes of a full-size attempt."""
    min_nodes: _Nodes
    spares: _Spares = 0
    """Nodes that the job has beside these, to take the place of one that fails."""
    num_csx: int
    """CSX systems of a full-size attempt; `csx_of` returns those of fewer nodes."""
    csx_per_node: _Nodes
    policy: RestartPolicy | None
    """None: the config has no `autorestart`; the job is unmanaged and has no comment record."""
    command: Argument
    """Launch template, see `trainer.launch`; run by the shell in `work_dir`."""
    arguments: tuple[Argument, ...]
    """Trainer options given behind `--`, appended to the command."""
    model_dir: Argument
    """Absolute path, as all below."""
    work_dir: Argument
    config_path: Argument
    """The file that was submitted; `params.yaml` in the run directory is this phase's part."""
    checkpoint: CheckpointLayout
    checkpoint_steps: int | None
    """Steps between checkpoints; None or 0: none are written but perhaps the last one."""
    keep_checkpoints: Annotated[int, Range(1, 10**9)] | None = None
    """`n` of the callback KeepNCheckpoints: of more, the oldest are removed. None: all stay."""
    initial_checkpoint: Argument | None
    """`ckpt_path` of the config, which attempt 0 loads, or an evaluation evaluates."""
    autoload_last_checkpoint: bool
    """Without `initial_checkpoint`, attempt 0 loads the newest complete checkpoint there is."""
    loop: LoopFacts
    user_comment: Argument = ""
    signal_lead: _Seconds = DEFAULT_SIGNAL_LEAD
    """Seconds before the time limit at which Slurm sends USR1 to the batch script."""
    stop_signal: _StopSignal = "TERM"
    """Name, without SIG, of the signal that asks the trainer to save and end."""
    stop_receiver: StopReceiver = StopReceiver.GROUP
    progress: ProgressMeasure = field(default_factory=ProgressMeasure)
    health_check: HealthCheck = field(default_factory=HealthCheck)
    leave_drained: bool = False
    """A node that the site drains while the run is on it is left at the next checkpoint."""
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    compile_prefetch: bool = False
    """The sizes of smaller restarts are compiled while the trainer executes."""
    validates_at_end: bool = False
    """A training that the trainer validates after the last step, as its config says."""
    fixed_size: bool = False
    """The size is what sbatch makes of the user's options (`-n`, gres totals); it never changes."""
    array: Argument | None = None
    """--array of sbatch: each task is a run of its own, in a directory below this one."""
    array_task: _Task | None = None
    """The task that this run is; None: it is no task of an array."""
    slurm: SlurmAccess
    schema: int = SCHEMA
    unknown: dict[str, Any] = unknown_keys()

    @property
    def run_id(self) -> str:
        """The id of the run, as its journal has it; tasks of an array have different ones."""
        return run_of_task(self.run, self.array_task)

    @property
    def is_measured(self) -> bool:
        """Whether `progress` shows how far the run is, as it has no known checkpoints."""
        return self.checkpoint.format is CheckpointFormat.NONE and not self.mode.is_evaluation

    @property
    def progress_unit(self) -> ProgressUnit:
        """What the steps of this run count."""
        if not self.is_measured or self.progress.pattern is not None:
            return ProgressUnit.STEP
        return ProgressUnit.SECOND if self.progress.file is None else ProgressUnit.BYTE

    @property
    def progress_after(self) -> int:
        """Seconds after which an attempt has made progress, where run time shows it."""
        return LONG_ATTEMPT if self.progress.after is None else self.progress.after

    @property
    def keeps_allocation(self) -> bool:
        """Whether the job is to outlive the loss of a node (--no-kill of sbatch).

        It does if the run can go on without that node where it is.
        """
        if self.policy is None or not self.policy.recovery.in_place or self.fixed_size:
            return False
        return self.spares > 0 or self.min_nodes < self.num_nodes

    def nodes_of(self, held: int) -> int:
        """Return how many of the job's nodes an attempt uses; the others are spares."""
        return min(held, self.num_nodes) if self.spares else held

    def csx_of(self, nodes: int) -> int:
        """Return the CSX systems of an attempt on `nodes` nodes."""
        return min(self.num_csx, nodes * self.csx_per_node)

    @property
    def requeues_itself(self) -> bool:
        """Whether the supervisor requeues the job, as no hook does."""
        policy = self.policy
        return policy is not None and policy.self_requeue and policy.recovery.requeues

    @property
    def needs_host_watch(self) -> bool:
        """Whether another node is to watch the batch host, and to requeue the job if it is lost."""
        policy = self.policy
        return self.keeps_allocation and policy is not None and policy.recovery.requeues

    @property
    def comment_record(self) -> CommentRecord | None:
        """The comment record at submission; None for an unmanaged job."""
        if self.policy is None:
            return None
        return CommentRecord(
            run=self.run,
            max_restarts=self.policy.max_restarts,
            num_nodes=self.num_nodes,
            min_nodes=self.min_nodes,
            spares=self.spares,
            mode=self.mode,
            phase=self.phase,
            stop_on_repeat=self.policy.stop_on_repeat,
            shrink_after=self.policy.shrink_after,
            give_up_after=self.policy.give_up_after,
            exclude_for=self.policy.exclude_for,
            node_search=self.policy.node_search,
            lead=None if self.signal_lead == DEFAULT_SIGNAL_LEAD else self.signal_lead,
            unit=self.progress_unit,
            fixed_size=self.fixed_size,
            self_requeue=self.requeues_itself,
        )

    @classmethod
    def load(cls, path: Path) -> "RunPlan":
        """Read plan.json.

        Raises:
            RecordError: not JSON, another schema, a missing field, a wrong type or value.
            StateError: it cannot be read: not there, no regular file, too large.
        """
        try:
            data = parse_json(read_bounded(path, MAX_BYTES, follow=False))
            return _checked(read_object(cls, data)[0])
        except OSError as error:
            raise StateError(f"{path}: cannot read the plan: {error.strerror}") from error
        except RecordError as error:
            raise error.at(str(path)) from None

    def save(self, path: Path) -> None:
        """Write plan.json atomically.

        Raises:
            RecordError: a value that `load` would refuse; nothing is written.
            OSError: it cannot be written.
        """
        data = to_data(self)
        try:
            _checked(read_object(RunPlan, json.loads(json.dumps(data)))[0])
        except RecordError as error:
            raise error.at(str(path)) from None
        write_atomic(path, f"{json.dumps(data, indent=2)}\n".encode())


def _checked(plan: RunPlan) -> RunPlan:
    """Return the plan if it is of this release's schema and its patterns can be used.

    Raises:
        RecordError: another schema, `run` is no run id, or a pattern cannot be used.
    """
    if plan.schema != SCHEMA:
        raise RecordError("schema", str(SCHEMA), str(plan.schema))
    if not re.fullmatch(r"[0-9a-f]{16}", plan.run):
        raise RecordError("run", "16 hexadecimal digits", repr(plan.run[:60]))
    pattern = plan.checkpoint.pattern
    try:
        groups = re.compile(pattern).groupindex
    except (re.error, OverflowError, RecursionError) as error:
        expected, found = "a regular expression", f"{pattern[:60]!r}: {error}"
        raise RecordError("checkpoint.pattern", expected, found) from None
    if "step" not in groups:
        expected = "a regular expression with the group step"
        raise RecordError("checkpoint.pattern", expected, repr(pattern[:60]))
    saved = plan.checkpoint.saved
    if saved is not None and (problem := saved_problem(saved)) is not None:
        raise RecordError("checkpoint.saved", problem, repr(saved[:60]))
    return plan


def saved_problem(pattern: str) -> str | None:
    """Return what is expected in place of `CheckpointLayout.saved`; None: it can be used."""
    try:
        # The output is searched as bytes.
        groups = re.compile(pattern.encode()).groupindex
    except (re.error, OverflowError, RecursionError, UnicodeEncodeError) as error:
        return f"a regular expression ({error})"
    if "path" not in groups:
        return r"a regular expression with the group path, such as 'uploaded to (?P<path>\S+)'"
    return None
