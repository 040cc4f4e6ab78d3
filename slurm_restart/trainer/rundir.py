"""Paths and attempts of the run directory of a phase."""

import errno
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurm_restart.errors import StateError
from slurm_restart.safe_files import open_below, open_directory
from slurm_restart.trainer import run_plan
from slurm_restart.trainer.attempt_records import (
    AttemptEnd,
    AttemptStart,
    Fence,
    LateCheckpoint,
    Measured,
    RequeueRequest,
    Saved,
    Warned,
    load_record,
    read_lines,
    read_record,
)

ATTEMPTS = "attempts"
PARAMS = "params.yaml"
SCRIPT = "job.sh"
"""The user's batch script as it was submitted, in a run of a script."""
TASKS = "tasks"
MAX_ATTEMPTS = 100_000
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class AttemptDir:
    """The directory of one attempt, `attempts/N`."""

    path: Path
    number: int

    @property
    def params(self) -> Path:
        """The config as given to the trainer."""
        return self.path / PARAMS

    @property
    def output(self) -> Path:
        """The trainer's output."""
        return self.path / "output.log"

    @property
    def start_file(self) -> Path:
        """How the attempt started."""
        return self.path / "start.json"

    @property
    def end_file(self) -> Path:
        """How the attempt ended."""
        return self.path / "end.json"

    @property
    def fence_file(self) -> Path:
        """From when on this is the current attempt."""
        return self.path / "fence.json"

    @property
    def late_file(self) -> Path:
        """Checkpoints that an attempt wrote after a later one had begun, a line each."""
        return self.path / "late.jsonl"

    @property
    def requeue_file(self) -> Path:
        """What the supervisor has asked of Slurm after the attempt."""
        return self.path / "requeue.json"

    @property
    def progress_file(self) -> Path:
        """The checkpoints that the attempt wrote, a line each."""
        return self.path / "progress.jsonl"

    @property
    def before_file(self) -> Path:
        """Very many checkpoints that existed before the first attempt."""
        return self.path / "before.bin"

    @property
    def warnings_file(self) -> Path:
        """What the user was told while the attempt ran, a line each."""
        return self.path / "warnings.jsonl"

    @property
    def compiles(self) -> Path:
        """Directory of the compiles for smaller restarts: their configs and output."""
        return self.path / "compiles"

    @property
    def measured_file(self) -> Path:
        """How far the attempt has got, where no checkpoint shows it."""
        return self.path / "measured.json"

    def start(self) -> AttemptStart | None:
        """Return the start record; None if it is missing or cannot be read."""
        return read_record(AttemptStart, self.start_file)

    def end(self) -> AttemptEnd | None:
        """Return the end record; None if it is missing or cannot be read."""
        return read_record(AttemptEnd, self.end_file)

    def fence(self) -> Fence | None:
        """Return the attempt's fence; None: not taken, or it cannot be read."""
        return read_record(Fence, self.fence_file)

    def late(self) -> tuple[LateCheckpoint, ...]:
        """Return the checkpoints that are not used as an attempt wrote them too late."""
        return read_lines(LateCheckpoint, self.late_file)[0]

    def requeue(self) -> RequeueRequest | None:
        """Return what was asked of Slurm after the attempt; None: nothing is on record."""
        return read_record(RequeueRequest, self.requeue_file)

    def measured(self) -> Measured | None:
        """Return how far the attempt has got; None: not measured, or it cannot be read."""
        return read_record(Measured, self.measured_file)

    def saved(self) -> tuple[Saved, ...]:
        """Return the checkpoints on record, in the order in which they were seen."""
        return read_lines(Saved, self.progress_file)[0]

    def reached(self) -> int | None:
        """Return the highest step that the attempt has saved or measured; None: none is known."""
        measured = self.measured()
        steps = [checkpoint.step for checkpoint in self.saved()]
        return max([*steps, *([] if measured is None else [measured.step])], default=None)

    def warnings(self) -> tuple[str, ...]:
        """Return what the user was told; nothing once a checkpoint was seen after it."""
        warned = read_lines(Warned, self.warnings_file)[0]
        saved = max((checkpoint.at for checkpoint in self.saved()), default=0.0) if warned else 0.0
        return tuple(warning.text for warning in warned if warning.at > saved)

    def problems(self) -> tuple[StateError, ...]:
        """Return what cannot be read of the attempt's records; a missing file is no problem."""
        found: list[StateError] = []
        for kind, path in ((AttemptStart, self.start_file), (AttemptEnd, self.end_file)):
            try:
                load_record(kind, path)
            except FileNotFoundError:
                continue
            except OSError as error:
                found.append(StateError(f"{path}: {error.strerror}"))
            except StateError as error:
                found.append(error)
        return (*found, *read_lines(Saved, self.progress_file)[1])


@dataclass(frozen=True, slots=True)
class RunDir:
    """`<model_dir>/<timestamp>_restartable/`."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan of the phase."""
        return self.path / run_plan.FILE_NAME

    @property
    def rules(self) -> Path:
        """Directory with the run's own rules over log lines; missing if it has none."""
        return self.path / "rules"

    @property
    def params(self) -> Path:
        """The phase's config as submitted."""
        return self.path / PARAMS

    @property
    def summary(self) -> Path:
        """The vendor's summary."""
        return self.path / "summary.json"

    @property
    def compiles(self) -> Path:
        """The compiles for smaller restarts that have ended, a line each."""
        return self.path / "compiles.jsonl"

    @property
    def log(self) -> Path:
        """run.log."""
        return self.path / "run.log"

    @property
    def heartbeat(self) -> Path:
        """Changed by the supervisor every few seconds, where another node watches its host."""
        return self.path / "heartbeat"

    @property
    def tasks(self) -> Path:
        """Directory with those of the tasks, if this is that of a job array."""
        return self.path / TASKS

    def task(self, number: int) -> "RunDir":
        """Return the run directory of a task, if this is that of a job array."""
        return RunDir(self.tasks / str(number))

    def attempts(self) -> tuple[AttemptDir, ...]:
        """Return all attempts in order.

        Raises:
            OSError: the directory cannot be read.
        """
        try:
            directory = open_directory(self.path, ATTEMPTS)
        except FileNotFoundError:
            return ()
        try:
            return tuple(map(self.attempt, _numbers(directory)))
        finally:
            os.close(directory)

    def new_attempt(self) -> AttemptDir:
        """Create the directory of the next attempt; concurrent calls get different ones.

        Raises:
            OSError: it cannot be created.
        """
        directory = self._make_attempts()
        try:
            known = _numbers(directory)
            for number in range(known[-1] + 1 if known else 0, MAX_ATTEMPTS):
                try:
                    os.mkdir(str(number), dir_fd=directory)
                except FileExistsError:
                    continue
                os.fsync(directory)
                return self.attempt(number)
        finally:
            os.close(directory)
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), str(self.path / ATTEMPTS))

    def _make_attempts(self) -> int:
        """Create the directory of the attempts unless it is there; return its descriptor.

        It is no symbolic link: another user who may write in the run directory could let it point
        anywhere.

        Raises:
            OSError: it cannot be created or opened.
        """
        directory = open_directory(self.path)
        try:
            with suppress(FileExistsError):
                os.mkdir(ATTEMPTS, dir_fd=directory)
            return open_below(directory, ATTEMPTS, shown=self.path)
        finally:
            os.close(directory)

    def attempt(self, number: int) -> AttemptDir:
        """Return the directory of an attempt, which may not exist."""
        return AttemptDir(self.path / ATTEMPTS / str(number), number)


def _numbers(attempts: int) -> list[int]:
    """Return the numbers of the attempts in an open directory, in order."""
    return sorted(int(name) for name in os.listdir(attempts) if _NUMBER.fullmatch(name))
