"""What the processes of a hung run do, and the node that this blames."""

from collections.abc import Sequence
from typing import Annotated

from slurm_restart.core.attribution import Blame
from slurm_restart.core.printable import escape_controls
from slurm_restart.core.python_stack import format_place
from slurm_restart.core.record_reader import Range, Text
from slurm_restart.frozen import frozen

_STATES = {
    "R": "running",
    "S": "waiting",
    "D": "in the kernel (D)",
    "T": "stopped by a signal (T)",
    "t": "stopped by a debugger (t)",
}
_BUSY = 0.5
"""Share of a CPU from which a process counts as computing."""
NO_STACK = "no stack: "
"""How the reason begins that is given in place of a stack."""
SHOWN = 6
"""Processes that are named in a text for people."""


@frozen
class StuckProcess:
    """One process of a run that hangs."""

    node: Annotated[str, Text(most=256)]
    pid: int
    rank: int | None
    """Its number among the tasks or ranks, as its environment says."""
    name: Annotated[str, Text(most=64)]
    command: Annotated[str, Text(most=256)]
    state: Annotated[str, Text(most=1)]
    """As in proc(5), if it was the same in two looks."""
    threads: Annotated[str, Text(most=4096)]
    """The states of its threads, one letter each."""
    cpu_share: Annotated[float, Range(0, 10**6)]
    """CPUs that it used."""
    wait_channel: Annotated[str, Text(most=64)]
    """The function of the kernel that it waits in; empty: none, or not known."""
    system_call: Annotated[str, Text(most=64)]
    stack: str | None = None
    """Its Python stacks, or why there are none; None: it is no Python process."""
    handles_abort: bool = False
    """Whether it has a handler for SIGABRT, as Python's faulthandler is."""
    handles_term: bool = False
    """Whether it has one for SIGTERM, in which it may save."""
    cpu: Annotated[float, Range(0, 10**10)] = 0.0
    """CPU seconds that it and its children that have ended have used."""

    @property
    def is_blamed(self) -> bool:
        """Whether it cannot run although nothing in the program makes it wait."""
        return self.state in "TD"

    @property
    def lacks_stack(self) -> bool:
        """Whether it is a Python process of which there is no stack."""
        return self.stack is not None and self.stack.startswith(NO_STACK)

    @property
    def _place(self) -> str:
        return "" if self.stack is None or self.lacks_stack else format_place(self.stack)

    def __str__(self) -> str:
        who = f"process {self.pid} ({self.name})"
        who = who if self.rank is None else f"rank {self.rank}, {who},"
        state = _STATES.get(self.state, self.state)
        if self.cpu_share >= _BUSY:
            state = f"computing ({self.cpu_share:.0%} of a CPU)"
        elif self.state in "SD":
            where = [text for text in (self.system_call, self.wait_channel) if text]
            state += f" in {', '.join(where)}" if where else ""
        place = f", in {place}" if (place := self._place) else ""
        return escape_controls(f"{who} on {self.node}: {state}{place}")


def blamed_nodes(processes: Sequence[StuckProcess], nodes: Sequence[str]) -> tuple[Blame, ...]:
    """Return the node that the states of the processes blame: at most one.

    It is blamed if processes there are stopped or hang in the kernel, and there are none such on
    any other node of the job, all of which were looked at. Of one node alone nothing can be said.

    Args:
        processes: of all nodes.
        nodes: those of the job.
    """
    stuck = [process for process in processes if process.is_blamed]
    places = {process.node for process in stuck}
    seen = {process.node for process in processes}
    if len(places) != 1 or len(nodes) == 1 or not nodes or not seen.issuperset(nodes):
        return ()
    evidence = f"the run hangs, and only there: {stuck[0]}"
    return (Blame(node=stuck[0].node, evidence=evidence),)


def stopped(processes: Sequence[StuckProcess]) -> dict[tuple[str, int], float]:
    """Return the CPU seconds of the ranks and Python processes that a signal has stopped.

    The keys are the node and the process id. While a person looks at the run with a debugger, there
    are none. A stopped `srun` or shell is none: its ranks may compute.

    Args:
        processes: of all nodes.
    """
    if any(process.state == "t" for process in processes):
        return {}
    return {
        (process.node, process.pid): process.cpu
        for process in processes
        if process.state == "T" and (process.rank is not None or process.stack is not None)
    }


def describe(processes: Sequence[StuckProcess]) -> tuple[str, ...]:
    """Return a line each for the processes that say the most: stopped ones first, then ranks."""

    def weight(process: StuckProcess) -> tuple[bool, bool, int, str, int]:
        rank = 10**9 if process.rank is None else process.rank
        return not process.is_blamed, process.rank is None, rank, process.node, process.pid

    ordered = sorted(processes, key=weight)
    lines = [str(process) for process in ordered[:SHOWN]]
    more = len(ordered) - SHOWN
    return (*lines, f"and {more} more") if more > 0 else tuple(lines)
