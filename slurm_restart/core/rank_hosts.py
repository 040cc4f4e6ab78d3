"""Join ranks and tasks with the hosts that they run on, as far as a log proves it."""

import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field

MAX_PLACED = 65536
"""Tasks and ranks that are kept, of each; Slurm's default MaxTasksPerNode on 128 nodes."""

# Patterns are texts: `re` compiles and keeps one when it is first needed, as most logs need none.
_TASK = r"(\d{1,6}):"
_RANK = r"\[(?:[Rr]ank ?(?P<rank>\d{1,9})|\d{1,9},(?P<mpi>\d{1,9}))\]"
_ROLE = (
    r"(?i:accelerators?|actors?|cards?|chief|cuda|devices?|engines?|epochs?|executors?|gpus?|groups?"
    r"|hips?|jobs?|learners?|local|masters?|npus?|pods?|proc(?:ess(?:es)?)?|ps|ranks?|replicas?"
    r"|rocm|servers?|shards?|stages?|steps?|tasks?|threads?|tpus?|trainers?|trials?|weights?"
    r"|workers?|xpus?)[-_.:]?\d+"
)
_SEVERAL = ""
"""In place of a host: lines give different ones."""


def is_role_name(name: str) -> bool:
    """Return whether a name is that of a part of a program, such as `gpu3` or `worker-1`."""
    return re.fullmatch(_ROLE, name) is not None


def short_host(name: str) -> str:
    """Return a host name without its domain; an address is returned as it is."""
    first, _, domain = name.partition(".")
    address = ":" in name or name.replace(".", "").isdigit()
    return name if address or not domain else first


def find_node(host: str, nodes: Iterable[str]) -> str | None:
    """Return the one of a job's nodes that a host name means, with or without domain, or None."""
    same = [node for node in nodes if node == host]
    alike = same or [node for node in nodes if short_host(node) == short_host(host)]
    return alike[0] if len(alike) == 1 else None


def split_rank(label: str) -> tuple[int | None, int | None]:
    """Return (task, rank) of the labels in front of a line; None: the labels do not give it.

    `9:` is the label of `srun --label`, so a task of Slurm. `[rank9]` is PyTorch's global rank and
    `[1,9]` Open MPI's. All others (`[default1]`, `[3]`) may count within a node.
    """
    if not label:
        return None, None
    task = re.match(_TASK, label)
    rank = re.search(_RANK, label)
    return (
        int(task[1]) if task else None,
        int(rank["rank"] or rank["mpi"]) if rank else None,
    )


@dataclass(slots=True)
class RankHosts:
    """Where the tasks and ranks of one attempt run, collected from the lines that tell it."""

    tasks: dict[int, str] = field(default_factory=dict)
    """Host of each task of Slurm; empty text: lines disagree."""
    ranks: dict[int, str] = field(default_factory=dict)
    """Host of each rank of a program, as its launcher tells it; empty text: lines disagree."""
    ended: set[int] = field(default_factory=set)
    """Tasks that ended of themselves: they exited or crashed, and were not terminated."""
    printed: dict[int, str] = field(default_factory=dict)
    """Host of each rank as the program itself prints it; empty text: lines disagree."""
    highest_rank: int = -1
    """The highest rank that has printed a line or stands in a launcher's table."""
    members: dict[int, str] = field(default_factory=dict)
    """Host of each rank of NCCL's largest communicators; empty text: lines disagree."""
    size: int = 0
    """Ranks of NCCL's largest communicators."""
    processes: set[str] = field(default_factory=set)
    """The processes, each with its device, that have joined a communicator of NCCL."""
    launched: bool = False
    """A launcher inside the tasks (torchrun, mpirun) started the ranks: ranks are not tasks."""

    def copy(self) -> "RankHosts":
        """Return an independent copy."""
        return deepcopy(self)

    def add_tasks(self, host: str, tasks: Iterable[int], *, of_itself: bool) -> None:
        """Record what a line of srun tells: the tasks that ended on a host, and how."""
        for task in tasks:
            _place(self.tasks, task, host)
            if of_itself and task in self.tasks:
                self.ended.add(task)

    def add_rank(self, rank: int, host: str) -> None:
        """Record the host of a rank, from a table of its launcher."""
        _place(self.ranks, rank, host)
        self.note_rank(rank)
        self.launched = True

    def add_printed(self, rank: int, host: str) -> None:
        """Record the host of a rank, from a line in which the program tells it."""
        _place(self.printed, rank, host)
        self.note_rank(rank)

    def add_member(self, rank: int, size: int, host: str, process: str) -> None:
        """Record that a process has joined a communicator of NCCL as one of `size` ranks."""
        if len(self.processes) < MAX_PLACED:
            self.processes.add(process)
        if size > self.size:
            self.members.clear()
            self.size = size
        if size == self.size:
            _place(self.members, rank, host)

    def note_rank(self, rank: int) -> None:
        """Record that a rank of this number exists."""
        self.highest_rank = max(self.highest_rank, rank)

    def host_of(self, label: str) -> str:
        """Return the host of the rank or task with these labels; empty: not proven, or several."""
        task, rank = split_rank(label)
        if task is None and rank is not None and self._is_task(rank):
            task = rank
        found = [
            placed[number]
            for placed, number in (
                (self._world(), rank),
                (self.printed, rank),
                (self.ranks, rank),
                (self.tasks, task),
            )
            if number is not None and number in placed
        ]
        same = len({short_host(host) for host in found}) == 1
        return found[-1] if same else _SEVERAL

    def _world(self) -> dict[int, str]:
        """Return the hosts of NCCL's ranks if these are the program's, else nothing.

        They are if all processes belong to the largest communicators; those of a smaller group
        count its ranks from 0.
        """
        complete = len(self.members) == self.size == len(self.processes)
        return self.members if complete and self.highest_rank < self.size else {}

    def _is_task(self, rank: int) -> bool:
        """Return whether a rank is the task of the same number.

        It is not where each task starts several ranks, as with torchrun: then the numbers of ranks
        exceed those of tasks. The task has to have ended of itself, as a rank with an error does.
        """
        if self.launched or rank not in self.ended or self.highest_rank > max(self.tasks):
            return False
        if _SEVERAL in self.tasks.values():
            return False
        several_per_host = len(set(self.tasks.values())) < len(self.tasks)
        return several_per_host or self.ended == {rank}


def _place(placed: dict[int, str], number: int, host: str) -> None:
    if number not in placed and len(placed) >= MAX_PLACED:
        return
    known = placed.setdefault(number, host)
    if short_host(known) != short_host(host):
        placed[number] = _SEVERAL
