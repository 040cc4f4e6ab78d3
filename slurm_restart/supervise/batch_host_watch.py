"""Let another node of the job watch the batch host, where its loss would leave nobody.

A job that Slurm keeps without a lost node (--no-kill) stays RUNNING without a script when that node
is its batch host. Only the site's reconciler, if there is one, would find it. So a job step on
another node, a shell that mostly sleeps (`host_watch_command`), reads the supervisor's heartbeat.
Once that stands still, and not before, it asks Slurm again and again whether the job has lost its
batch host (`lost_batch_host`). Where there is certainly no reconciler, two nodes do so.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.host_watch_command import (
    AFTER_RECONCILER,
    FIRST,
    INTERVAL,
    SECOND,
    STEP_NAME,
    watch_command,
)
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.periodic_thread import PeriodicThread
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir

if TYPE_CHECKING:
    from slurm_restart.slurm.process import Running

RETRY, LONGEST_RETRY = 10.0, 600.0
"""Seconds until a watch that has ended is started anew; they double each time up to the longest."""
STOP_TIMEOUT = 3.0
"""Seconds for the step to end, and for a file system that does not answer."""
_STARTED = 60.0
"""Seconds after which a watch counts as started: the next one is not put off for it."""


class Heartbeat(PeriodicThread):
    """Changes a file every few seconds, and removes it in the end.

    Args:
        path: the file.
        warn: called once with a message if it cannot be written.
        watch: returns a context to be entered around each access to the file.
    """

    def __init__(
        self,
        path: Path,
        warn: Callable[[str], None],
        watch: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__("heartbeat", "the heartbeat cannot be written", warn, watch)
        self._path = path

    def run(self) -> None:
        """Beat at once, so that a supervisor that is killed has left a heartbeat."""
        self._look(last=False)
        super().run()

    def _look(self, *, last: bool) -> None:
        with self._failures_reported(), self._watch():
            if last:
                self._path.unlink(missing_ok=True)
            else:
                _write_line(self._path, f"{time.time():.3f}")

    def _pause(self, used: float) -> float:
        return max(INTERVAL, used)


def _write_line(path: Path, text: str) -> None:
    """Write a line of ever the same length over the one before: no reader sees half of it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    try:
        os.pwrite(descriptor, f"{text}\n".encode(), 0)
    finally:
        os.close(descriptor)


class HostWatch(threading.Thread):
    """Keeps the watch on one other node of the job, and starts it elsewhere when it ends.

    Args:
        job: the allocation.
        command: the watch.
        slurm: returns the cluster.
        warn: called once with why there is none.
        place: how many of the job's other nodes are left to other watches.
    """

    def __init__(
        self,
        job: JobEnvironment,
        command: Sequence[str],
        slurm: Callable[[], Slurm],
        warn: Callable[[str], None],
        place: int = 0,
    ) -> None:
        super().__init__(name="host-watch", daemon=True)
        self._place = place
        self._job = job
        self._command = command
        self._slurm = slurm
        self._warn = warn
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._running: Running | None = None
        self._failures = 0

    def run(self) -> None:
        """Keep the watch until `stop` is called, or no other node is left for it."""
        pause = RETRY
        while len(candidates := self._candidates()) > self._place:
            began = time.monotonic()
            why = self._attend(candidates[(self._place + self._failures) % len(candidates)])
            is_started = time.monotonic() - began >= _STARTED
            pause = RETRY if is_started else min(2 * pause, LONGEST_RETRY)
            if self._stopped.wait(pause):
                return
            self._failures += 1
            if self._failures == 1:
                self._warn(f"the watch of the batch host is started anew: {why}")

    def end(self, number: int = signal.SIGUSR2) -> None:
        """Ask the watch and its step to end, by a signal."""
        self._stopped.set()
        with self._lock:
            if self._running is not None:
                self._running.signal(number)

    def stop(self, timeout: float) -> bool:
        """End the watch and its step; return whether that was done within `timeout` seconds."""
        for number in (signal.SIGUSR2, signal.SIGTERM):
            self.end(number)
            self.join(timeout / 2)
            if not self.is_alive():
                break
        return not self.is_alive()

    def _candidates(self) -> list[str]:
        """Return the job's other nodes, spares first, as nothing else runs there."""
        known = (*self._job.spares, *reversed(self._job.nodes))
        held = known if not self._failures else self._still_held(known)
        return [name for name in known if name in held and name != self._job.node_name]

    def _still_held(self, known: Sequence[str]) -> Sequence[str]:
        try:
            return self._slurm().job(self._job.job_id or 0).nodes
        except SlurmError:
            return known

    def _attend(self, node: str) -> str:
        """Run the watch on a node; return how it has ended."""
        try:
            slurm = self._slurm()
            with self._lock:
                if self._stopped.is_set():
                    return "stopped"
                job_id = self._job.job_id or 0
                running = slurm.start_on_node(job_id, node, STEP_NAME, self._command)
                self._running = running
        except SlurmError as error:
            return f"{node}: {error}"
        done = running.wait()
        return f"{node}: srun: {done.stderr.strip()[-300:] or f'exit code {done.code}'}"


@frozen
class BatchHostWatch:
    """The heartbeat of this node, and its watches on others."""

    heartbeat: Heartbeat
    watches: tuple[HostWatch, ...]

    def stop(self) -> None:
        """End all. Nothing of them is left, except where a file system or srun hangs."""
        for watch in self.watches:
            watch.end()
        for watch in self.watches:
            watch.stop(STOP_TIMEOUT)
        self.heartbeat.finish(STOP_TIMEOUT)


def start_watch(
    plan: RunPlan,
    run_dir: RunDir,
    job: JobEnvironment,
    *,
    slurm: Callable[[], Slurm],
    warn: Callable[[str], None],
    access: Callable[[str], AbstractContextManager[None]],
) -> BatchHostWatch | None:
    """Start to watch the batch host; None: that is not needed.

    Args:
        plan: the phase.
        run_dir: its directory.
        job: the allocation.
        slurm: returns the cluster.
        warn: called with what the user should know.
        access: returns a context to be entered around each access to a file.
    """
    if not plan.needs_host_watch:
        return None
    if job.job_id is None or job.node_name is None or len(job.held) < 2:  # noqa: PLR2004
        return None
    paces = (FIRST, SECOND) if plan.requeues_itself else (AFTER_RECONCILER,)
    commands = [watch_command(run_dir, job, pace) for pace in paces]
    found = BatchHostWatch(
        heartbeat=Heartbeat(run_dir.heartbeat, warn, lambda: access(str(run_dir.heartbeat))),
        watches=tuple(
            HostWatch(job, command, slurm, warn, place) for place, command in enumerate(commands)
        ),
    )
    for thread in (found.heartbeat, *found.watches):
        thread.start()
    return found
