"""The replaced commands record each call, and interrupt the caller at the planned one only."""

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contrib.testing.crash_points import (
    EVERY_CALL,
    Act,
    Caller,
    CrashPoints,
    Interruption,
    When,
)

HOOK = "from slurm_restart.control.epilog import main"
"""What the command line of the hook holds."""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Slurm's commands, which print their arguments and write them down."""
    folder = tmp_path / "real"
    folder.mkdir()
    for name in ("scontrol", "squeue", "sinfo", "scancel"):
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "$@" | tee -a {tmp_path}/done\n')
        path.chmod(0o755)
    return folder


@pytest.fixture
def points(tmp_path: Path, real: Path) -> CrashPoints:
    found = CrashPoints(
        tmp_path / "crash",
        bin_dir=real,
        pid_file=tmp_path / "slurmctld.pid",
        user=pwd.getpwuid(os.geteuid()),
    )
    found.record(7)
    return found


def call(points: CrashPoints, *commands: str, marker: str = HOOK) -> subprocess.CompletedProcess:
    """Let a process with the hook's command line make calls, one after the other."""
    program = (
        "import subprocess, sys\n"
        "for text in sys.argv[2:]:\n"
        "    name, *rest = text.split()\n"
        "    subprocess.run([f'{sys.argv[1]}/{name}', *rest])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", f"{program}# {marker}", str(points.bin_dir), *commands],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def done(tmp_path: Path) -> list[str]:
    path = tmp_path / "done"
    return path.read_text().splitlines() if path.exists() else []


CALLS = (
    "squeue -h -j 7",
    "scontrol show node",
    "scontrol requeue 7",
    "scontrol update JobId=7 A=b",
)


def test_calls_are_recorded_and_carried_out(points: CrashPoints) -> None:
    result = call(points, *CALLS)
    assert result.stdout == "-h -j 7\nshow node\nrequeue 7\nupdate JobId=7 A=b\n"
    assert points.calls(7, Caller.HOOK) == list(CALLS)
    assert points.calls(7, Caller.HELPER) == []
    assert points.reached(7, Caller.HOOK) is None
    assert len(points.trace(7)) == 4


def test_calls_of_others_and_for_other_jobs_are_not_recorded(points: CrashPoints) -> None:
    assert call(points, *CALLS, marker="a person").stdout.count("\n") == 4
    assert call(points, "scontrol requeue 8").stdout == "requeue 8\n"
    assert points.calls(7, Caller.HOOK) == []


@pytest.mark.parametrize(
    ("marker", "caller"),
    [
        ("-m slurm_restart.control.requeue_helper", Caller.HELPER),
        ("-m slurm_restart.cli.restart reconcile --site x", Caller.RECONCILER),
        ("/site/csx-epilog", Caller.FRONT),
    ],
)
def test_the_caller_is_told_by_its_command_line(
    points: CrashPoints, marker: str, caller: Caller
) -> None:
    call(points, "scontrol requeue 7", marker=marker)
    assert points.calls(7, caller) == ["scontrol requeue 7"]


@pytest.mark.parametrize("where", ["3", "scontrol requeue *"])
@pytest.mark.parametrize(("when", "carried_out"), [(When.BEFORE, 2), (When.AFTER, 3)])
def test_the_caller_is_killed_at_one_call(
    points: CrashPoints, tmp_path: Path, where: str, when: When, carried_out: int
) -> None:
    points.plan(7, Interruption(caller=Caller.HOOK, call=where, when=when))
    assert call(points, *CALLS).returncode == -signal.SIGKILL
    assert len(done(tmp_path)) == carried_out
    assert points.reached(7, Caller.HOOK) == 3
    # The next process makes the same calls, and is not interrupted.
    assert call(points, *CALLS).returncode == 0
    assert len(done(tmp_path)) == carried_out + 4


def test_every_call_may_be_interrupted(points: CrashPoints, tmp_path: Path) -> None:
    points.plan(7, Interruption(caller=Caller.HOOK, call=EVERY_CALL, when=When.BEFORE))
    for _ in range(2):
        assert call(points, *CALLS).returncode == -signal.SIGKILL
    assert done(tmp_path) == []


def test_another_command_is_carried_out_before(points: CrashPoints, tmp_path: Path) -> None:
    command = f"echo other >>{tmp_path}/done"
    points.plan(
        7,
        Interruption(caller=Caller.HOOK, call="3", when=When.BEFORE, act=Act.RUN, command=command),
    )
    assert call(points, *CALLS).returncode == 0
    assert done(tmp_path)[2:4] == ["other", "requeue 7"]


def test_slurmctld_is_killed(points: CrashPoints, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as daemon:
        (tmp_path / "slurmctld.pid").write_text(f"{daemon.pid}\n")
        points.plan(
            7, Interruption(caller=Caller.HOOK, call="3", when=When.AFTER, act=Act.SLURMCTLD)
        )
        assert call(points, *CALLS).stdout.count("\n") == 4
        assert daemon.wait(timeout=300) == -signal.SIGKILL
    assert points.take_slurmctld_killed()
    assert not points.take_slurmctld_killed()
