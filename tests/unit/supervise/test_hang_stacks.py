"""The stacks of a hung run, as they come from its output and from its files."""

import pytest

from slurm_restart.core.hang import HangReport
from slurm_restart.core.hang_evidence import StuckProcess
from slurm_restart.supervise.abort_probe import Aborted
from slurm_restart.supervise.hang_stacks import STACKS, add_stacks, write_stacks

WITHOUT = "no stack: py-spy is not installed"
DUMP = """\
Fatal Python error: Aborted

Current thread 0x{address:016x} (most recent call first):
  File "/x/train.py", line 9 in {name}
"""


def process(pid: int, stack: str | None = WITHOUT) -> StuckProcess:
    return StuckProcess(
        node="csx1", pid=pid, rank=pid, name="python3", command="python3 train.py", state="S",
        threads="S", cpu_share=0.0, wait_channel="", system_call="futex", stack=stack,
    )  # fmt: skip


REPORT = HangReport(
    reason="no output",
    lines=("as before",),
    processes=(process(1), process(2), process(3), process(4, "stuck (train.py:9)"), process(5)),
)
OUTPUT = DUMP.format(address=0x100, name="one") + DUMP.format(address=0x999, name="odd\x1b[2J")
ABORTED = (
    Aborted(node="csx1", pid=1, memory="f0-200 odd 300-"),
    Aborted(node="csx1", pid=2, printed=DUMP.format(address=0x5, name="two")),
    Aborted(node="csx1", pid=3, refused="a core dump cannot be prevented"),
    Aborted(node="csx1", pid=5, memory="300-400"),
)


def test_the_stacks_that_were_printed_are_those_of_the_processes(tmp_path):
    completed, rest = add_stacks(
        REPORT, ABORTED, f"step 40\n{OUTPUT}\udcff".encode(errors="replace")
    )
    stacks = [one.stack for one in completed.processes]
    assert stacks[0] is not None
    assert stacks[0].endswith("line 9 in one")
    assert stacks[1] is not None
    assert stacks[1].endswith("line 9 in two")
    assert stacks[2:] == [
        f"{WITHOUT}; SIGABRT: a core dump cannot be prevented",
        "stuck (train.py:9)",
        f"{WITHOUT}; SIGABRT: it printed none",
    ]
    assert completed.lines[0] == (
        "rank 1, process 1 (python3), on csx1: waiting in futex, in one (train.py:9)"
    )
    write_stacks(tmp_path / "hang", completed, pytest.fail, rest=rest)
    file = tmp_path / "hang" / STACKS
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert "stacks of which it is not known whose they are:\nCurrent thread 0x0" in text
    assert "\x1b" not in text


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "hang").touch()
    warnings: list[str] = []
    write_stacks(tmp_path / "hang", REPORT, warnings.append)
    assert "cannot be written" in warnings[0]
