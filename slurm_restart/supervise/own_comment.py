"""The Comment of this job, which is written from the time at which its plan is known."""

from collections.abc import Callable
from typing import Any, cast

from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.comment_writer import CommentWriter
from slurm_restart.supervise.ending import Ending
from slurm_restart.supervise.supervisor_context import LazySlurm
from slurm_restart.trainer.run_plan import RunPlan


class OwnComment:
    """Starts the comment writer; an unmanaged job has no comment record, and nothing is written.

    Args:
        slurm: returns the cluster.
        job_id: this job; None: this is none of Slurm's.
        warn: called with a message when the Comment cannot be written.
    """

    def __init__(
        self, slurm: Callable[[], Slurm], job_id: int | None, warn: Callable[[str], None]
    ) -> None:
        self._slurm = slurm
        self._job_id = job_id
        self._warn = warn
        self._writer: CommentWriter | None = None

    def start(self, plan: RunPlan | None) -> None:
        """Start the writer, if it does not run and the job is managed.

        Args:
            plan: the phase; None: it could not be read, but the Comment holds the record that was
                written at submission.
        """
        unmanaged = plan is not None and plan.comment_record is None
        if self._job_id is None or unmanaged or self._writer is not None:
            return
        self._writer = CommentWriter(
            cast("Slurm", LazySlurm(self._slurm)),
            self._job_id,
            fallback=plan.comment_record if plan else None,
            warn=self._warn,
        )
        self._writer.start()

    def update(self, **values: Any) -> None:
        """Change fields of the comment record."""
        if self._writer is not None:
            self._writer.update(**values)

    def flush(self, timeout: float, **values: Any) -> bool:
        """Change fields and write them now; return whether that was done within `timeout` s."""
        return self._writer is not None and self._writer.flush(timeout, **values)

    def abandon(self) -> None:
        """Write nothing more: another attempt writes the Comment now."""
        self._writer = None

    def finish(self, ending: Ending, *, durable: bool, **values: Any) -> bool:
        """Write the last values and wait until they are; return whether that was done.

        Args:
            ending: limits the wait.
            durable: whether Slurm is asked until it has the values.
            values: fields of the comment record.
        """
        if self._writer is None:
            return True  # nothing is to be written
        self._writer.finish(0, durable=durable, **values)
        ending.await_final_update(self._writer)
        if not self._writer.is_written:
            self._warn("the end could not be written to the job's Comment")
        return self._writer.is_written
