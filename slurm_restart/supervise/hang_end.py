"""Ask a trainer that hangs to end, and have its Python processes print their stacks before.

What can save on TERM gets it first, and SIGABRT only if it is still there shortly before KILL. All
others would die of TERM, so that SIGABRT in its place loses nothing.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from slurm_restart.core.hang import HangReport
from slurm_restart.core.hang_evidence import StuckProcess
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.abort_probe import ALL, WITHOUT_TERM, Aborted, is_ending
from slurm_restart.supervise.events import EndHung, Events, TrainerHung
from slurm_restart.supervise.hang_abort import HangAbort
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.processes import is_srun
from slurm_restart.supervise.shells import hold_shells
from slurm_restart.supervise.srun_options import kills_on_bad_exit
from slurm_restart.supervise.trainer_end import StopReason

NOTED_TIMEOUT = 10.0
"""Seconds until the main thread ends the trainer for the hang, or does not."""
STEPS_TIMEOUT = 5.0
"""Seconds for a signal to the job's steps."""
BEFORE_KILL = 6.0
"""Seconds before KILL at which a process gets SIGABRT that has not ended on TERM."""
LATE_PATIENCE = 2.0
"""Seconds of these in which such processes are stopped on all nodes."""
_SRUN = "srun"
_POLL = 0.1
"""Seconds between two looks whether srun has ended."""


class HangEnd:
    """Ends one hung trainer; `run` takes its time, in a thread of its own.

    Args:
        job: the job.
        reaper: process id of the reaper.
        slurm: returns the cluster.
        events: where the main thread is told what to do.
        grace: returns the seconds between TERM and KILL.
        warn: called with a message about what cannot be done.
    """

    def __init__(
        self,
        *,
        job: JobEnvironment,
        reaper: int,
        slurm: Callable[[], Slurm],
        events: Events,
        grace: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._job = job
        self._slurm = slurm
        self._events = events
        self._grace = grace
        self._warn = warn
        self._noted = threading.Event()
        self._over = threading.Event()
        self._sigabrt = HangAbort(job=job, reaper=reaper, slurm=slurm, warn=warn)

    @property
    def aborted(self) -> Sequence[Aborted]:
        """The processes that were to get SIGABRT, in the order in which they did on their node."""
        return self._sigabrt.aborted

    def note_stop(self) -> None:
        """Note that the main thread ends the trainer for the hang."""
        self._noted.set()

    def note_end(self) -> None:
        """Note that the trainer has ended: nothing more is done about it."""
        self._over.set()
        self._noted.set()

    def run(self, report: HangReport) -> None:
        """End the trainer; return once it has ended, or nothing but KILL is left to do."""
        self._events.put(TrainerHung(StopReason.HUNG, report))
        # It may be ending for another reason; and what is printed from now on is no cause.
        if not self._noted.wait(NOTED_TIMEOUT) or self._over.is_set():
            return
        silent = [
            process for process in report.processes if process.lacks_stack and process.handles_abort
        ]
        late = [process for process in silent if process.handles_term]
        here = [process for process in report.processes if self._is_here(process)]
        hold_shells(process.pid for process in here)
        killers = self._killers(report.processes)
        if not (killers and any(_may_save(process) for process in report.processes)):
            with _held(killers):
                early = [process for process in silent if process not in late]
                self._sigabrt.abort(early, WITHOUT_TERM)
        sruns = [process.pid for process in here if process.name == _SRUN]
        by_steps = bool(sruns) and self._ask_steps()
        self._events.put(EndHung(group=not by_steps))
        grace = self._grace()
        if self._await_end(max(grace / 2, grace - BEFORE_KILL), sruns if by_steps else []):
            return
        self._sigabrt.abort(late, ALL, LATE_PATIENCE)
        if by_steps:
            self._events.put(EndHung(group=True))

    def _is_here(self, process: StuckProcess) -> bool:
        # Without Slurm a node has no name but its host's.
        return self._job.node_name in (None, process.node)

    def _await_end(self, seconds: float, sruns: Sequence[int]) -> bool:
        """Return whether the trainer ends within this time.

        Args:
            seconds: the time.
            sruns: the processes of srun; once they have ended, the process group gets TERM.
        """
        until = time.monotonic() + seconds
        while sruns and time.monotonic() < until:
            if all(map(is_ending, sruns)):
                self._events.put(EndHung(group=True))
                sruns = []
            elif self._over.wait(_POLL):
                return True
        return self._over.wait(max(0.0, until - time.monotonic()))

    def _ask_steps(self) -> bool:
        """Send TERM to the tasks of the job's steps; return whether it was sent.

        srun itself kills them at once when it gets TERM (measured on 22.05).
        """
        job_id = self._job.job_id
        if job_id is None:
            return False
        sent: list[str] = []

        def send() -> None:
            try:
                for name in ("TERM", "CONT"):  # a stopped process handles no signal but KILL
                    self._slurm().signal_steps(job_id, name)
                    sent.append(name)
            except SlurmError as error:
                self._warn(f"the job's steps could not be sent TERM: {error}")

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        thread.join(STEPS_TIMEOUT)
        return "TERM" in sent

    def _killers(self, processes: Iterable[StuckProcess]) -> list[int]:
        """Return the processes of srun here that kill all tasks as soon as one has failed."""
        return [
            process.pid
            for process in processes
            if process.name == _SRUN
            and self._is_here(process)
            and kills_on_bad_exit(process.command, os.environ)
        ]


def _may_save(process: StuckProcess) -> bool:
    """Return whether it is a task, which srun would kill, and has a handler for TERM."""
    return process.handles_term and process.rank is not None


@contextmanager
def _held(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes of srun meanwhile; they print what has come in when they go on."""

    def send(number: int) -> None:
        for pid in pids:
            if is_srun(pid):
                with suppress(OSError):
                    os.kill(pid, number)

    send(signal.SIGSTOP)
    try:
        yield
    finally:
        send(signal.SIGCONT)
