"""Only so many hooks run at the same time, and each slot is released however its holder ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_restart.control import concurrency
from slurm_restart.control.concurrency import take_slot
from slurm_restart.errors import StateError
from tests.unit.control.conftest import Clock

HOLDER = """
import sys
from pathlib import Path
from slurm_restart.control.concurrency import take_slot
slot = take_slot(Path(sys.argv[1]), count=int(sys.argv[2]), timeout=300)
print("got" if slot is not None else "none", flush=True)
sys.stdin.read()
"""


def hold(folder: Path, count: int) -> subprocess.Popen[str]:
    """Another process that holds a slot until its stdin is closed, or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "got\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=300)


def test_there_are_as_many_slots_as_set(tmp_path: Path) -> None:
    held = [take_slot(tmp_path, count=3, timeout=0) for _ in range(3)]
    assert None not in held
    assert len(set(held)) == 3
    assert take_slot(tmp_path, count=3, timeout=0) is None
    for slot in held:
        assert slot is not None
        os.close(slot)
    assert take_slot(tmp_path, count=3, timeout=0) is not None


def test_slots_of_other_processes_count(tmp_path: Path) -> None:
    others = [hold(tmp_path, 2), hold(tmp_path, 2)]
    assert take_slot(tmp_path, count=2, timeout=0.1) is None
    end(others[0])
    assert take_slot(tmp_path, count=2, timeout=300) is not None
    end(others[1])


def test_the_slot_of_a_killed_process_is_released(tmp_path: Path) -> None:
    other = hold(tmp_path, 1)
    assert take_slot(tmp_path, count=1, timeout=0) is None
    other.send_signal(signal.SIGKILL)
    other.wait(300)
    slot = take_slot(tmp_path, count=1, timeout=300)
    assert slot is not None
    end(other)


def test_a_slot_that_becomes_free_is_taken(tmp_path: Path) -> None:
    first = hold(tmp_path, 1)
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    end(first)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "got\n"
    end(waiting)


def test_a_wait_ends_after_its_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = take_slot(tmp_path, count=1, timeout=0)
    clock = Clock()
    began = clock.now
    monkeypatch.setattr(concurrency, "time", clock)
    assert take_slot(tmp_path, count=1, timeout=20) is None
    assert 20 <= clock.now - began < 20.2
    assert slot is not None


def test_a_child_of_the_holder_does_not_inherit_the_slot(tmp_path: Path) -> None:
    slot = take_slot(tmp_path, count=1, timeout=0)
    assert slot is not None
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    os.close(slot)
    assert take_slot(tmp_path, count=1, timeout=0) is not None
    child.communicate(timeout=300)


def test_a_directory_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "slots").write_text("a file")
    with pytest.raises(StateError, match="slots"):
        take_slot(tmp_path, count=1, timeout=0)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "slots").mkdir()
    (tmp_path / "slots" / "0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        take_slot(tmp_path, count=1, timeout=0)
    assert not (tmp_path / "elsewhere").exists()
