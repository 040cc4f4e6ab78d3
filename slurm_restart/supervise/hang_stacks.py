"""Write down the stacks of a hung run, also those that its processes print when they are ended."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from slurm_restart.core.hang import HangReport
from slurm_restart.core.hang_evidence import StuckProcess, describe
from slurm_restart.core.printable import escape_controls
from slurm_restart.core.python_stack import Dump, assign_dumps, find_dumps
from slurm_restart.logs.lines import split_label
from slurm_restart.supervise.abort_probe import Aborted
from slurm_restart.trainer.atomic_file import write_atomic

STACKS = "stacks.txt"


def add_stacks(
    report: HangReport, aborted: Sequence[Aborted], output: bytes
) -> tuple[HangReport, str]:
    """Return the report with the stacks that were printed, and those that are nobody's for sure.

    Args:
        report: of the hang.
        aborted: the processes that were to get SIGABRT, in the order in which they did.
        output: of the trainer, since it was called hung.
    """
    lines = [split_label(line) for line in output.decode(errors="replace").splitlines()]
    memory = {number: entry.ranges for number, entry in enumerate(aborted)}
    found, rest = assign_dumps(find_dumps(lines), memory)
    texts: dict[tuple[str, int], str] = {}
    for number, entry in enumerate(aborted):
        own = find_dumps([split_label(line) for line in entry.printed.splitlines()])
        stacks = (*found.get(number, ()), *(stack for dump in own for stack in dump))
        texts[entry.node, entry.pid] = _format(stacks) or _reason(entry)
    processes = tuple(
        replace(process, stack=_with(process, texts.get((process.node, process.pid))))
        for process in report.processes
    )
    return replace(report, processes=processes, lines=describe(processes)), _format(rest)


def _format(stacks: Dump) -> str:
    return escape_controls("\n\n".join(map(str, stacks)), keep="\n")


def _reason(aborted: Aborted) -> str:
    why = aborted.refused or "it printed none"
    return f"; SIGABRT: {why}"


def _with(process: StuckProcess, text: str | None) -> str | None:
    if text is None or process.stack is None:
        return process.stack
    return f"{process.stack}{text}" if text.startswith(";") else text


def write_stacks(
    directory: Path,
    report: HangReport,
    warn: Callable[[str], None],
    *,
    rest: str = "",
) -> None:
    """Write what the processes do, with their stacks, into a file that only the owner can read.

    Args:
        directory: of the file; it is made.
        report: of the hang.
        warn: called with a message if the file cannot be written.
        rest: stacks of which it is not known whose they are.
    """
    parts = [f"{report.reason}\n"]
    for process in report.processes:
        command = escape_controls(process.command)
        parts.append(f"\n{process}\n  {command}\n  threads: {process.threads}\n")
        parts += [f"{process.stack.rstrip()}\n"] if process.stack else []
    if rest:
        parts.append(f"\nstacks of which it is not known whose they are:\n{rest}\n")
    try:
        directory.mkdir(exist_ok=True)
        write_atomic(directory / STACKS, "".join(parts).encode(errors="replace"), mode=0o600)
    except OSError as error:
        warn(f"{directory / STACKS}: cannot be written: {error}")
