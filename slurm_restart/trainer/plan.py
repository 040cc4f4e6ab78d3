"""The plan of one phase: all that the supervisor needs, written by `csx-sbatch` as plan.json."""

import json
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from slurm_restart.core.job_comment import CommentRecord, Mode
from slurm_restart.errors import StateError
from slurm_restart.trainer.atomic_file import write_atomic

SCHEMA = 1
FILE_NAME = "plan.json"


class CheckpointFormat(Enum):
    """How a checkpoint tells its step and that it is complete."""

    MDL = "mdl"
    """One HDF5 file with `__SUCCESS__` and the step as attributes; `complete` is not used."""
    FILES = "files"
    """Any file or directory; its name tells the step, `complete` when it is complete."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointLayout:
    """Where checkpoints appear and how they are recognised."""

    directory: str
    """Absolute path."""
    pattern: str
    """Regular expression that a name must match in full. Groups: `step` (always there), `stamp`
    (optional: tells two savings of one step apart, the later one sorts last)."""
    format: CheckpointFormat = CheckpointFormat.MDL
    complete: str | None = None
    """None: a file that bears its final name is complete. Else a path in which `{path}` stands for
    the checkpoint's: complete once that path exists, such as `{path}.done` or `{path}/DONE`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopFacts:
    """What the config says of the length of a run. None: not given."""

    max_steps: int | None = None
    """The last global step: absolute, whatever step the run starts from."""
    num_steps: int | None = None
    """Steps (or epochs of a known length) of this run. The trainer counts them anew from the step
    that it starts from, so that a restart has to be given `last_step` as its max_steps."""
    unknown_epochs: bool = False
    """Epochs are asked for whose length only the data tells."""

    def last_step(self, first_step: int) -> int | None:
        """The step at which the run is done; `first_step`: where attempt 0 of the phase started.

        None: not known. With `unknown_epochs` it may be done earlier.
        """
        ends = [] if self.max_steps is None else [self.max_steps]
        if self.num_steps is not None:
            ends.append(first_step + self.num_steps)
        return min(ends, default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartPolicy:
    """Restarting as asked for at submission. None: the site's default. Times in seconds."""

    max_restarts: int
    stop_on_repeat: int | None = None
    shrink_after: int | None = None
    give_up_after: int | None = None
    exclude_for: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmAccess:
    """How Slurm was reached at submission: the fallback where the job's environment does not say.

    Absolute paths. `conf` is None where SLURM_CONF was not set.
    """

    bin_dir: str
    conf: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """One phase, one job, one run directory."""

    run: str
    """Run id, 16 hexadecimal digits, shared by all phases of a submission."""
    phase: int
    phases: int
    mode: Mode
    num_nodes: int
    """Nodes of a full-size attempt."""
    min_nodes: int
    num_csx: int
    """CSX systems of a full-size attempt; `csx_of` says how many fewer nodes have."""
    csx_per_node: int
    policy: RestartPolicy | None
    """None: the config has no `autorestart`; the job is unmanaged and carries no digest."""
    command: str
    """Launch template, see `trainer.launch`; run by the shell in `work_dir`."""
    arguments: tuple[str, ...]
    """Trainer options given behind `--`, appended to the command."""
    model_dir: str
    """Absolute path, as all below."""
    work_dir: str
    config_path: str
    """The file that was submitted; `params.yaml` in the run directory is this phase's part."""
    checkpoint: CheckpointLayout
    checkpoint_steps: int | None
    """Steps between checkpoints; None or 0: none are written but perhaps the last one."""
    initial_checkpoint: str | None
    """`ckpt_path` of the config, which attempt 0 loads."""
    autoload_last_checkpoint: bool
    """Without `initial_checkpoint`, attempt 0 loads the newest complete checkpoint there is."""
    loop: LoopFacts
    user_comment: str = ""
    signal_lead: int = 120
    """Seconds before the time limit at which Slurm sends USR1 to the batch script."""
    slurm: SlurmAccess
    schema: int = SCHEMA

    def csx_of(self, nodes: int) -> int:
        """CSX systems of an attempt that has so many nodes."""
        return min(self.num_csx, nodes * self.csx_per_node)

    @property
    def comment_record(self) -> CommentRecord | None:
        """What the job's Comment says at submission; None for an unmanaged job."""
        if self.policy is None:
            return None
        return CommentRecord(
            run=self.run,
            max_restarts=self.policy.max_restarts,
            num_nodes=self.num_nodes,
            min_nodes=self.min_nodes,
            mode=self.mode,
            phase=self.phase,
            stop_on_repeat=self.policy.stop_on_repeat,
            shrink_after=self.policy.shrink_after,
            give_up_after=self.policy.give_up_after,
            exclude_for=self.policy.exclude_for,
        )

    @classmethod
    def load(cls, path: Path) -> "RunPlan":
        """Read plan.json.

        Raises:
            StateError: not there, not JSON, another schema, an unknown or missing field, a wrong
                type.
        """
        try:
            data = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StateError(f"{path}: cannot read the plan: {error}") from error
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise StateError(f"{path}: schema: expected {SCHEMA}, got {schema!r}")
        try:
            plan = _read(cls, data, "")
        except _FormError as error:
            raise StateError(f"{path}: {error}") from None
        assert isinstance(plan, cls)  # noqa: S101 - tells the type checker what _read made
        return plan

    def save(self, path: Path) -> None:
        """Write plan.json atomically.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps(asdict(self), indent=2, default=_enum_value, ensure_ascii=True)
        write_atomic(path, f"{text}\n".encode())


class _FormError(Exception):
    pass


def _enum_value(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"not for JSON: {value!r}")


def _read(kind: Any, value: Any, where: str) -> Any:
    """Build a value of the annotated type from JSON; `where` names it in messages."""
    if get_origin(kind) in (Union, types.UnionType):
        return None if value is None else _read(get_args(kind)[0], value, where)
    if is_dataclass(kind):
        return _read_object(kind, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise _FormError(f"{where}: expected a list, got {value!r}")
        return tuple(_read(get_args(kind)[0], item, where) for item in value)
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            names = ", ".join(str(member.value) for member in kind)
            raise _FormError(f"{where}: expected one of {names}, got {value!r}") from None
    # bool is an int in Python, and true is no number of nodes.
    if type(value) is not kind:
        raise _FormError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def _read_object(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _FormError(f"{where}: expected an object, got {value!r}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    prefix = f"{where}." if where else ""
    if unknown := sorted(set(value) - set(names)):
        raise _FormError(f"{prefix}{unknown[0]}: unknown field")
    # The plan is written by the same release's `save`, which leaves nothing out.
    if missing := [name for name in names if name not in value]:
        raise _FormError(f"{prefix}{missing[0]}: missing")
    return kind(**{name: _read(hints[name], value[name], prefix + name) for name in names})
