"""End a job step of which a task has failed, as `srun --kill-on-bad-exit` does.

By default srun lets the other tasks go on. They mostly wait for the one that is gone, until a time
limit of their library ends them, or the watchdog does. Once the program is asked to end, nothing is
done here: each task has its time to save then.
"""

import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from slurm_restart.supervise.job_processes import Belonging, JobProcesses, ProcessStat
from slurm_restart.supervise.output_lines import OutputLines
from slurm_restart.supervise.output_pipe import OutputPipe
from slurm_restart.supervise.processes import is_srun
from slurm_restart.supervise.srun_processes import are_alive, find_sruns, is_left_to_slurm
from slurm_restart.supervise.stop_request import late_signal_due

DELAY = 0.3
"""Seconds from the report of a failure until the other tasks are ended: what the task printed last
may come after that report, and others say what they know."""
SETTLE = 1.0
"""Seconds after the end of a step in which reports are still those of its tasks, though the next
command of a script may have begun."""
MIN_AGE = 0.25
"""Seconds for which an srun has run that surely is the one whose report has just been read. A
younger one may be the next command of a script, begun after the report was printed, unless the
report is known to be younger still."""
QUIET = 10.0
"""Seconds without any output, after `SETTLE`, by which such a one proves to be the one."""
SERIES = 5.0
"""Seconds after the first report in which others are of the same failure."""
_SPEAKER = "srun: error: "
_FAILED = re.compile(rb"srun: error: (\S+: tasks? [\d,-]+: (?!Exited with exit code 0\b).+)")
"""What srun prints of tasks that failed (Slurm, src/srun/libsrun/launch.c)."""
_CRASHED = re.compile(r"(?:Killed|Segmentation fault|Bus error|Illegal instruction)\b")
"""How tasks end that no TERM has ended; KILL follows TERM only after Slurm's KillWait."""
_MAY_WAIT = (
    "{failed}: other tasks of its step may wait for it, and this step is not ended: {reason}; "
    "srun --kill-on-bad-exit=1 ends a step with its first failed task"
)
_SEVERAL = "which of the srun that run side by side has reported it is not known"
_NEXT = (
    "the srun that runs may be the next one of the script (it is ended if nothing is printed for "
    f"{QUIET:.0f} s)"
)


class FailedTasks:
    """Reads in the trainer's output which tasks have failed, and ends their step.

    Which srun has printed a line is known only if there is a single one.

    Args:
        reaper: process id of the reaper, above all processes of the trainer here.
        report: called with a line for the user.
        pipes: all that the trainer's output is read from.
    """

    def __init__(
        self, reaper: int, report: Callable[[str], None], pipes: Sequence[OutputPipe] = ()
    ) -> None:
        self._processes = JobProcesses(Belonging(job_id=None, node=None, roots=(reaper,)))
        self._report = report
        self._pipes = pipes
        self._lines = OutputLines((_SPEAKER,), self._take)
        self._over = threading.Event()
        self._ending = threading.Event()
        """Set while a step is about to be ended: its other tasks may fail, too."""
        self._doubting = threading.Event()
        """Set while it is found out whether a step of several goes on without a failed task."""
        self._has_warned = False
        self._chunks = 0
        """How often there was output."""
        self.first: str | None = None
        """What srun has reported first of tasks that failed."""
        self._failed_at = -math.inf
        self._crashed = False

    def feed(self, chunk: bytes) -> None:
        """Search the next bytes of the output, cut at any position."""
        self._chunks += 1
        self._lines.feed(chunk)

    def finish(self) -> None:
        """End no step any more: the trainer has been asked to end, or has ended."""
        self._over.set()

    def signal_due(self, ended: float) -> float:
        """Return until when this process gets a signal of Slurm's if that has ended the program.

        Args:
            ended: when the program ended, by `time.monotonic`, as the result.
        """
        if ended - self._failed_at > SERIES:
            return late_signal_due(ended)
        return -math.inf if self._crashed else late_signal_due(self._failed_at)

    def _take(self, line: bytes) -> None:
        found = _FAILED.match(line)
        if found is None:
            return
        failed = found[1].decode(errors="replace").rstrip()
        self.first = self.first or failed
        now = time.monotonic()
        if now - self._failed_at > SERIES:
            self._failed_at, self._crashed = now, bool(_CRASHED.search(failed))
        if self._over.is_set() or self._ending.is_set():
            return
        sruns = find_sruns(self._processes)
        if not any(is_left_to_slurm(srun.pid) for srun in sruns):
            return
        if len(sruns) == 1:
            self._ending.set()
            self._start(self._end_step, sruns[0], failed, self._has_printed(sruns[0]))
        elif not self._doubting.is_set():
            self._doubting.set()
            self._start(self._warn_of_several, sruns, failed)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, name="failed-task", daemon=True).start()

    def _has_printed(self, srun: ProcessStat) -> bool:
        """Return whether the line that was read now is of this srun, if no other one runs.

        What was written since it began cannot be of one before it, nor wait in a program such as
        tee if its own lines do not.
        """
        if srun.age >= MIN_AGE:
            return True
        written_after = min((pipe.empty_at for pipe in self._pipes), default=-math.inf)
        return written_after >= srun.surely_started and any(
            pipe.writes_to(srun.pid) for pipe in self._pipes
        )

    def _end_step(self, srun: ProcessStat, failed: str, is_known: bool) -> None:  # noqa: FBT001
        proven = not self._over.wait(DELAY) if is_known else self._is_quiet(srun, failed)
        if proven and is_srun(srun.pid):
            # On TERM srun kills all tasks at once, and ends with the exit code of a failed one.
            with suppress(OSError):
                os.kill(srun.pid, signal.SIGTERM)
                self._report(
                    f"{failed}: the other tasks of its step are ended "
                    "(srun --kill-on-bad-exit=0 lets them go on)"
                )
            self._over.wait(SETTLE)
        self._ending.clear()

    def _is_quiet(self, srun: ProcessStat, failed: str) -> bool:
        self._warn([srun], failed, _NEXT)
        chunks = self._chunks
        return not self._over.wait(QUIET) and self._chunks == chunks

    def _warn_of_several(self, sruns: Sequence[ProcessStat], failed: str) -> None:
        self._warn(sruns, failed, _SEVERAL)
        self._doubting.clear()

    def _warn(self, sruns: Sequence[ProcessStat], failed: str, reason: str) -> None:
        """Warn, once in an attempt, unless one of these ends: that of the step whose task failed.

        It does so at once if that was the only task, or if the step is ended as slurm.conf says.
        """
        if self._over.wait(SETTLE) or self._has_warned:
            return
        if are_alive(sruns):
            self._has_warned = True
            self._report(_MAY_WAIT.format(failed=failed, reason=reason))
