"""Read the lines of launchers that tell on which host a task or a rank ran."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from slurm_restart.core.rank_hosts import RankHosts, is_role_name, short_host, split_rank

_JOINED = (" - Init COMPLETE", " - Init START", " - Abort COMPLETE", " - Destroy COMPLETE")
"""Ends of the lines of NCCL that name a process and its rank."""
PLACING = (
    "host      : ",
    "(local_rank: ",
    *_JOINED,
    " running on ",
    " on host ",
    " on node ",
    " Pid ",
)
"""Texts that make a line suspect besides the literals of the rules."""
MAX_RANGE = 65536
"""Tasks of one range of a line."""
MAX_TABLES = 4096
"""Tables that may be printed at the same time."""

_HOST = r"(?P<host>[A-Za-z0-9][\w.-]{0,127})"
# Slurm, src/srun/launch.c: one line for all tasks of a host that ended alike.
_TASKS = rf"srun: (?:error: )?{_HOST}: tasks? (?P<tasks>[\d,-]{{1,4000}}): (?P<how>\S.*)"
_ENDED_OF_ITSELF = (
    "Exited with exit code",
    "Aborted",
    "Segmentation fault",
    "Bus error",
    "Illegal instruction",
    "Floating point exception",
    "Trace/breakpoint trap",
    "Bad system call",
)
_TABLE = ("host      : ", "rank      : ")
# PyTorch, torch/distributed/elastic/multiprocessing/errors/__init__.py.
_TABLE_HOST = rf"host {{6}}: {_HOST}"
_TABLE_RANK = r"rank {6}: (?P<rank>\d{1,9}) \(local_rank: \d{1,9}\)"
# Open MPI, orte/tools/orterun help texts.
_MPI_RANK = rf"process rank (?P<rank>\d{{1,9}}) with PID \d+ on node {_HOST} "
# NCCL, src/init.cc.
_NCCL = (
    rf"(?P<process>{_HOST}:\d{{1,10}}):\d{{1,10}} \[\d{{1,3}}\] NCCL INFO (?:\w{{1,40}} )?"
    r"comm \w{1,40} rank (?P<rank>\d{1,9}) n[rR]anks (?P<size>\d{1,9}) cudaDev (?P<device>\d{1,3}) "
)
# What programs print of themselves, such as `Process 4 of 39 is running on cu12`. A name of a host
# has a digit or a domain.
_PRINTED = (
    r"(?<!ocal )(?<!ocal_)(?<!ocal-)\b(?:[Pp]roc(?:ess(?:or)?)?|[Rr]ank|[Tt]ask|PE) {0,2}[:#=]?"
    r" {0,2}(?P<rank>\d{1,9})(?:(?: ?/|,? of|,? out of) *\d{1,9})?"
    r"(?: +Group +\d{1,9})?(?: +Pid +\d{1,10})?"
    r"(?:,? (?:is )?(?:running|started|starting|launched))? +on +(?:host |node |machine )?"
    r"(?P<host>(?=[\w-]{0,127}[.\d])[A-Za-z][\w.-]{0,127}?)(?: +device +\d.{0,200}|[.,;]?$)"
)


@dataclass(slots=True)
class HostLines:
    """Collects the hosts of tasks and ranks from the suspect lines of a log."""

    placed: RankHosts = field(default_factory=RankHosts)
    tables: dict[str, str] = field(default_factory=dict)
    """Host in the last row of torchrun's table, by the label of the process that prints it."""

    def copy(self) -> "HostLines":
        """Return an independent copy."""
        return HostLines(self.placed.copy(), dict(self.tables))

    def read(self, label: str, body: str) -> None:
        """Process one line.

        Args:
            label: the rank labels in front of it.
            body: the line without labels, time and level.
        """
        if label and (rank := split_rank(label)[1]) is not None:
            self.placed.note_rank(rank)
        message = body.strip()
        # Fixed texts first: a suspect line is rarely one of these.
        if message.startswith("srun: "):
            self._read_srun(message)
        elif message.startswith(_TABLE):
            self._read_table(label, message)
        elif "process rank " in message and (found := re.search(_MPI_RANK, message)):
            self.placed.add_rank(int(found["rank"]), short_host(found["host"]))
        elif message.endswith(_JOINED) and (found := re.match(_NCCL, message)):
            process = f"{found['process']}:{found['device']}"
            rank, size = int(found["rank"]), int(found["size"])
            self.placed.add_member(rank, size, short_host(found["host"]), process)
        else:
            self._read_printed(message)

    def _read_printed(self, message: str) -> None:
        """Process a line in which a program may tell where a rank runs."""
        found = re.search(_PRINTED, message) if " on " in message else None
        if found and not is_role_name(host := short_host(found["host"])):
            self.placed.add_printed(int(found["rank"]), host)

    def _read_srun(self, message: str) -> None:
        if found := re.match(_TASKS, message):
            tasks = tuple(_numbers(found["tasks"]))
            of_itself = found["how"].startswith(_ENDED_OF_ITSELF)
            self.placed.add_tasks(found["host"], tasks, of_itself=of_itself)

    def _read_table(self, label: str, message: str) -> None:
        """Process a row of torchrun's table; a process prints the host first, then the rank."""
        if found := re.fullmatch(_TABLE_HOST, message):
            if label in self.tables or len(self.tables) < MAX_TABLES:
                self.tables[label] = short_host(found["host"])
        elif (found := re.fullmatch(_TABLE_RANK, message)) and label in self.tables:
            self.placed.add_rank(int(found["rank"]), self.tables.pop(label))


def _numbers(text: str) -> Iterator[int]:
    """Yield the task numbers in a text such as `0,4-7`; nothing for what is no such list."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            yield from range(int(first), min(int(last or first), int(first) + MAX_RANGE) + 1)
