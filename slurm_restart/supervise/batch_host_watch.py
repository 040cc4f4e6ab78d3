"""Let another node of the job watch the batch host, where its loss would leave nobody.

A job that Slurm keeps without a lost node (--no-kill) stays RUNNING without a script when that node
is its batch host, and where no hook is installed nobody finds it. So a job step on another node, a
shell that mostly sleeps, reads the supervisor's heartbeat. Once that stands still, and not before,
it asks Slurm again and again whether the job has lost its batch host (`lost_batch_host`).
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.child_process import ROOT
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.job_processes import NOT_THE_TRAINERS
from slurm_restart.supervise.periodic_thread import PeriodicThread
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir

if TYPE_CHECKING:
    from slurm_restart.slurm.process import Running

INTERVAL = 10.0
"""Seconds between two heartbeats, and between two looks at them."""
PATIENCE = 3
"""Looks without a heartbeat after which Slurm is asked."""
AGAIN = 3
"""Looks until it is asked again."""
RETRY, LONGEST_RETRY = 10.0, 600.0
"""Seconds until a watch that has ended is started anew; they double each time up to the longest."""
STOP_TIMEOUT = 3.0
"""Seconds for the step to end, and for a file system that does not answer."""
STEP_NAME = "csx-host-watch"
_STARTED = 60.0
"""Seconds after which a watch counts as started: the next one is not put off for it."""
SCRIPT = """\
exec >/dev/null 2>&1
trap 'ended=1' TERM USR2
trap '' HUP INT QUIT USR1 ALRM # for the program (--signal)
file=$1 pause=$2 patience=$3 again=$4 last= same=0 ended=
shift 4
while sleep "$pause" && [ -z "$ended" ]; do
    now=
    read -r now <"$file"
    if [ "$now" != "$last" ]; then
        last=$now same=0
        continue
    fi
    same=$((same + 1))
    [ "$same" -ge "$patience" ] || continue
    same=$((patience - again))
    "$@" "$now" && exit
done
exit 0 # the exit codes of all steps are in DerivedExitCode of the job
"""
"""The watch, for any POSIX shell. A signal to its step ends `sleep` too, and so the watch."""
_CODE = """
import sys
sys.path.append(sys.argv.pop(1))
from slurm_restart.supervise.lost_batch_host import main
main()
"""


def watch_command(
    run_dir: RunDir,
    job: JobEnvironment,
    *,
    pause: float = INTERVAL,
    patience: int = PATIENCE,
    again: int = AGAIN,
) -> list[str]:
    """Return the command of the watch.

    Args:
        run_dir: the phase's directory.
        job: the allocation.
        pause: seconds between two looks.
        patience: looks without a heartbeat after which Slurm is asked.
        again: looks until it is asked again.
    """
    held = format_hostlist(job.held or job.nodes)
    question = (sys.executable, "-I", "-c", _CODE, ROOT, str(run_dir.path))
    facts = (str(job.job_id), str(job.restarts), job.node_name or "", held)
    limits = (f"{pause:g}", str(patience), str(again))
    mark = f"{NOT_THE_TRAINERS.decode()}=1"
    shell = ("/bin/sh", "-c", SCRIPT, STEP_NAME)
    return ["env", mark, *shell, str(run_dir.heartbeat), *limits, *question, *facts]


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
    """

    def __init__(
        self,
        job: JobEnvironment,
        command: Sequence[str],
        slurm: Callable[[], Slurm],
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(name="host-watch", daemon=True)
        self._job = job
        self._command = command
        self._slurm = slurm
        self._warn = warn
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._running: Running | None = None
        self._failures = 0

    def run(self) -> None:
        """Keep the watch until `stop` is called, or no other node is left."""
        pause = RETRY
        while candidates := self._candidates():
            began = time.monotonic()
            why = self._attend(candidates[self._failures % len(candidates)])
            is_started = time.monotonic() - began >= _STARTED
            pause = RETRY if is_started else min(2 * pause, LONGEST_RETRY)
            if self._stopped.wait(pause):
                return
            self._failures += 1
            if self._failures == 1:
                self._warn(f"the watch of the batch host is started anew: {why}")

    def stop(self, timeout: float) -> bool:
        """End the watch and its step; return whether that was done within `timeout` seconds."""
        self._stopped.set()
        for number in (signal.SIGUSR2, signal.SIGTERM):
            with self._lock:
                if self._running is not None:
                    self._running.signal(number)
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
    """The heartbeat of this node, and its watch on another one."""

    heartbeat: Heartbeat
    watch: HostWatch

    def stop(self) -> None:
        """End both. Nothing of them is left, except where a file system or srun hangs."""
        self.watch.stop(STOP_TIMEOUT)
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
    if not (plan.requeues_itself and plan.keeps_allocation):
        return None
    if job.job_id is None or job.node_name is None or len(job.held) < 2:  # noqa: PLR2004
        return None
    found = BatchHostWatch(
        heartbeat=Heartbeat(run_dir.heartbeat, warn, lambda: access(str(run_dir.heartbeat))),
        watch=HostWatch(job, watch_command(run_dir, job), slurm, warn),
    )
    found.heartbeat.start()
    found.watch.start()
    return found
