"""Python stacks as text: those that py-spy prints, and those that Python's faulthandler does."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from slurm_restart.frozen import frozen

_HEADER = re.compile(
    r"(?P<current>Current t|T)hread 0x(?P<address>[0-9a-f]{1,16})\b.{0,64} "
    r"\(most recent call first\):$"
)
_BEGIN = "Fatal Python error: "
# Of `File` in faulthandler.c and traceback.c of Python; a traceback has a comma before its `in`.
_FRAME = re.compile(
    r"  (?:File (?:\".*\"|\?\?\?), line (?:\d+|\?\?\?) in "
    r"|Binary file \"|\.\.\.|<|Garbage-collecting)"
)
_C_STACK = "Current thread's C stack trace (most recent call first):"
# `  File "/x/train.py", line 8 in stuck` of faulthandler, `    stuck (train.py:8)` of py-spy.
_BY_HANDLER = re.compile(r'  File "(?:[^"\n]*/)?([^"/\n]*)", line (\d+) in (.+)')
_BY_PY_SPY = re.compile(r"    (.+) \((?:[^()\n]*/)?([^()/\n]+):(\d+)\)$", re.MULTILINE)
_MAIN = re.compile(r"^Thread \d+ .*MainThread", re.MULTILINE)
_ANY = re.compile(r"^(?:Current t|T)hread (?:0x[0-9a-f]+|\d+) ", re.MULTILINE)
PLACES = 3
"""Functions that tell where a process is."""


@frozen
class ThreadStack:
    """The stack of one thread, as faulthandler prints it."""

    address: int
    """Of the thread's data in the memory of its process: pthread_self(3)."""
    lines: tuple[str, ...]
    mixed: bool = False
    """Whether lines of another one are among them: that one had none when this one began."""

    def __str__(self) -> str:
        return "\n".join(self.lines)


Dump = tuple[ThreadStack, ...]
"""The stacks that are printed one after the other: as a rule those of one process."""


def find_dumps(lines: Sequence[tuple[str, str]]) -> tuple[Dump, ...]:
    """Return the stacks in the output of programs that faulthandler has ended.

    Output of several processes may be mixed line by line, if labels tell them apart; what is no
    line of a stack is left out.

    Args:
        lines: label of the process, such as that of `srun --label`, and the line without it.
    """
    dumps: list[list[_Open]] = []
    open_dumps: dict[str, list[_Open]] = {}
    for label, line in lines:
        header = _HEADER.match(line)
        if line.startswith(_BEGIN) or (header is not None and label not in open_dumps):
            open_dumps[label] = []
            dumps.append(open_dumps[label])
        if header is not None:
            before = open_dumps[label][-1:]
            mixed = bool(before) and len(before[0].lines) == 1
            open_dumps[label].append(_Open(int(header["address"], 16), [line], mixed))
        elif open_dumps.get(label) and (_FRAME.match(line) or line == _C_STACK):
            open_dumps[label][-1].lines.append(line)
    stacks = (tuple(stack.closed() for stack in dump if len(stack.lines) > 1) for dump in dumps)
    return tuple(dump for dump in stacks if dump)


class _Open(NamedTuple):
    """A stack whose lines are being read."""

    address: int
    lines: list[str]
    mixed: bool

    def closed(self) -> ThreadStack:
        return ThreadStack(address=self.address, lines=tuple(self.lines), mixed=self.mixed)


Memory = Mapping[int, Sequence[tuple[int, int]]]
"""The ranges of each process's memory, begin and end, by a number of the process."""


def assign_dumps(dumps: Sequence[Dump], memory: Memory) -> tuple[dict[int, Dump], Dump]:
    """Return the stacks of each process, and those of which it cannot be told whose they are.

    A thread's address lies in the memory of its process alone, as the kernel places the memory of
    each at random; only that of processes which were forked, and execute no program of their own,
    is placed alike. Of these, one that was signalled before another has printed before it.

    Args:
        dumps: in the order in which they were printed.
        memory: of the processes, in the order in which they were signalled.
    """
    found: dict[int, Dump] = {}
    rest: Dump = ()
    alike: dict[frozenset[int], list[Dump]] = {}
    for whole in dumps:
        # Stacks of two processes that print at the same time may be in one.
        for dump in (whole,) if _owners(whole, memory) else ((stack,) for stack in whole):
            owners = _owners(dump, memory)
            if len(owners) == 1:
                (owner,) = owners
                found[owner] = found.get(owner, ()) + dump
            elif owners:
                alike.setdefault(owners, []).append(dump)
            else:
                rest += dump
    for owners, printed in alike.items():
        if len(printed) == len(owners):
            by_signal = (owner for owner in memory if owner in owners)
            for owner, dump in zip(by_signal, printed, strict=True):
                found[owner] = found.get(owner, ()) + dump
        else:
            rest += tuple(stack for dump in printed for stack in dump)
    return found, rest


def _owners(dump: Dump, memory: Memory) -> frozenset[int]:
    """Return the processes in whose memory all threads of a dump may be."""
    return frozenset(
        owner
        for owner, ranges in memory.items()
        if not any(stack.mixed for stack in dump)
        and all(any(begin <= stack.address < end for begin, end in ranges) for stack in dump)
    )


def format_place(text: str) -> str:
    """Return the innermost functions of the main thread, for people; empty: there are none.

    Args:
        text: the stacks of a process, by py-spy or faulthandler.
    """
    start = _MAIN.search(text)
    if start is None:
        # The main thread is the last one that faulthandler prints. The current one is that which
        # the signal has come to: any, if all were stopped when it was sent.
        headers = list(_ANY.finditer(text))
        start = headers[-1] if headers else None
    begin = 0 if start is None else start.end()
    following = _ANY.search(text, begin)
    part = text[begin : len(text) if following is None else following.start()]
    frames = [f"{name} ({file}:{line})" for file, line, name in _BY_HANDLER.findall(part)]
    frames = frames or [f"{name} ({file}:{line})" for name, file, line in _BY_PY_SPY.findall(part)]
    return ", called by ".join(frames[:PLACES])
