"""End Python processes of all nodes by SIGABRT, on which they print their stacks.

All of them are stopped before the first is ended, on all nodes: a process that notices the end of
another, as a connection to it is lost, would fail with a traceback in place of its stack.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from slurm_restart.core.hang_evidence import StuckProcess
from slurm_restart.core.record_reader import parse_json, read_object
from slurm_restart.errors import RecordError, SlurmError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.slurm.process import Call, Interactive
from slurm_restart.supervise.abort_probe import STOPPED, Aborted
from slurm_restart.supervise.child_process import module_command
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.node_probe import arguments_here, command_elsewhere

PATIENCE = 8.0
"""Seconds in which the processes of all nodes are to be stopped; after that they are aborted."""
ABORT_TIMEOUT = 10.0
"""Seconds for SIGABRT on all nodes, once they are stopped."""
PROBE_TIMEOUT = 30.0
"""Seconds after which what has not ended is killed: a node may have frozen."""
NODES_TIME = 4.0
"""Seconds in which all nodes begin, one after the other: srun mixes the lines that they print at
the same time (measured on 22.05)."""
_NODE_TIME, _PROCESS_TIME = 0.25, 0.01
"""Seconds for a node, and for each of its processes, if there is time for that."""
MAX_TARGETS = 100_000
"""Characters of the list of processes: less than an argument of a program may have."""
_PROBE = "slurm_restart.supervise.abort_probe"


class HangAbort:
    """Ends processes of one trainer.

    Args:
        job: the job.
        reaper: process id of the reaper.
        slurm: returns the cluster.
        warn: called with a message about what cannot be done.
    """

    def __init__(
        self,
        *,
        job: JobEnvironment,
        reaper: int,
        slurm: Callable[[], Slurm],
        warn: Callable[[str], None],
    ) -> None:
        self._job = job
        self._reaper = reaper
        self._slurm = slurm
        self._warn = warn
        self.aborted: list[Aborted] = []
        """The processes that were to get SIGABRT, in the order in which they did on their node."""

    def abort(
        self, processes: Sequence[StuckProcess], receivers: str, patience: float = PATIENCE
    ) -> None:
        """End processes; return after `patience` and `ABORT_TIMEOUT` at last.

        Args:
            processes: those that are to get the signal.
            receivers: `WITHOUT_TERM` or `ALL` of `abort_probe`.
            patience: seconds in which the processes of all nodes are to be stopped.
        """
        if not processes:
            return
        deadline = time.monotonic() + patience + ABORT_TIMEOUT
        pids = self._by_node(processes)
        # Without Slurm a node has no name but its host's.
        here = [node for node in pids if self._job.node_name in (None, node)]
        elsewhere = [node for node in pids if node not in here]
        arguments = (receivers, f"{patience:g}", f"{_pause(pids):g}", _format_targets(pids))
        stops = _Stops(pids)
        threads = []
        for nodes, start in ((elsewhere, self._start_elsewhere), (here, self._start_here)):
            if nodes:
                work = (nodes, start, arguments, stops)
                threads.append(threading.Thread(target=self._follow, args=work, daemon=True))
                threads[-1].start()
        stops.await_all(patience)
        stops.let_abort()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _by_node(self, processes: Sequence[StuckProcess]) -> dict[str, list[str]]:
        """Return the process ids of each node, this one first."""
        found: dict[str, list[str]] = {}
        for process in sorted(processes, key=lambda stuck: stuck.node != self._job.node_name):
            found.setdefault(process.node, []).append(str(process.pid))
        return found

    def _follow(
        self,
        nodes: Sequence[str],
        start: Callable[[Sequence[str], Sequence[str]], Interactive],
        arguments: Sequence[str],
        stops: "_Stops",
    ) -> None:
        """Start the probe on nodes, and note what it says until it ends."""
        try:
            probe = start(nodes, arguments)
            stops.add(probe)
            for line in probe.lines():
                word, _, node = line.partition(" ")
                if word == STOPPED:
                    stops.note([node])
                else:
                    self._note(line)
            problem = probe.result().stderr.strip()[-300:] if probe.result().code else ""
        except (OSError, SlurmError) as error:
            problem = str(error)
        finally:
            stops.note(nodes)
        if problem:
            self._warn(f"not all stacks of {', '.join(nodes[:4])} can be printed: {problem}")

    def _start_here(self, _nodes: Sequence[str], arguments: Sequence[str]) -> Interactive:
        which = arguments_here(self._job, self._reaper)
        return Interactive(
            Call(module_command(_PROBE, (*which, *arguments))), timeout=PROBE_TIMEOUT
        )

    def _start_elsewhere(self, nodes: Sequence[str], arguments: Sequence[str]) -> Interactive:
        command = command_elsewhere(_PROBE, self._job, arguments)
        job_id = self._job.job_id or 0
        return self._slurm().start_on_nodes(job_id, nodes, command, timeout=PROBE_TIMEOUT)

    def _note(self, line: str) -> None:
        try:
            self.aborted.append(read_object(Aborted, parse_json(line))[0])
        except RecordError:
            return


class _Stops:
    """On which nodes the processes have yet to be stopped, and the probes that wait for them."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self._awaited = set(nodes)
        self._changed = threading.Condition()
        self._probes: list[Interactive] = []
        self._over = False

    def add(self, probe: Interactive) -> None:
        """Add a probe that waits until its input ends."""
        with self._changed:
            self._probes.append(probe)
            if self._over:
                probe.end_input()

    def note(self, nodes: Iterable[str]) -> None:
        """Note that all are stopped on these nodes, or that nothing comes from them any more."""
        with self._changed:
            self._awaited.difference_update(nodes)
            self._changed.notify_all()

    def await_all(self, seconds: float) -> None:
        """Wait for all nodes, for this time at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._awaited, seconds)

    def let_abort(self) -> None:
        """Let all probes go on to SIGABRT."""
        with self._changed:
            self._over = True
            for probe in self._probes:
                probe.end_input()


def _pause(pids: dict[str, list[str]]) -> float:
    """Return the seconds between two nodes, which have these processes."""
    most = max(map(len, pids.values()))
    return min(_NODE_TIME + _PROCESS_TIME * most, NODES_TIME / len(pids))


def _format_targets(pids: dict[str, list[str]]) -> str:
    text = ""
    for node, numbers in pids.items():
        more = f"{node}={','.join(numbers)} "
        text += more if len(text) + len(more) <= MAX_TARGETS else ""
    return text
