"""A supervisor's operations are recorded, and it is killed at the planned one only."""

import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest

from contrib.testing.crash_points import Act, Caller, CrashPoints, Interruption, When
from contrib.testing.supervised_cluster import make_environment

WORK = """
import os, subprocess, sys
subprocess.run(["scontrol", "show", "job", "7"])
with open("end.json", "w"): pass
os.rename("end.json", "attempt.json")
"""
EXEC = f"""
import os, sys
if "again" not in sys.argv:
    os.execv(sys.executable, [*sys.orig_argv, "again"])
{WORK}"""
FORK = f"""
import os
if os.fork() == 0:
    if os.fork() == 0:
        {{trainer}}
        os._exit(0)
    os.wait()
    os.mkdir("reaped")
    os._exit(0)
os.wait()
{WORK}"""


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> CrashPoints:
    directory = tmp_path_factory.mktemp("points")
    return CrashPoints(
        directory / "crash",
        bin_dir=Path("/usr/bin"),
        pid_file=directory / "slurmctld.pid",
        user=pwd.getpwuid(os.geteuid()),
    )


@pytest.fixture(scope="module")
def python(points: CrashPoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("made") / "venv", points.folder) / "python"


JOBS = iter(range(1, 100))


@pytest.fixture
def job_id(points: CrashPoints) -> int:
    number = next(JOBS)
    points.record(number)
    return number


def run(python: Path, folder: Path, job_id: int, code: str, *arguments: str) -> int:
    """Run code as a supervisor of a job in a folder; return its exit code."""
    (folder / "scontrol").write_text("#!/bin/sh\n")
    (folder / "scontrol").chmod(0o755)
    done = subprocess.run(
        [python, "-I", "-c", code, "run", "--run-dir", "/run", *arguments],
        cwd=folder,
        env={"PATH": f"{folder}:/usr/bin:/bin", "SLURM_JOB_ID": str(job_id)},
        check=False,
        timeout=300,
    )
    return done.returncode


def plan(points: CrashPoints, job_id: int, call: str, when: When = When.BEFORE) -> None:
    points.plan(job_id, Interruption(caller=Caller.SUPERVISOR, call=call, when=when, act=Act.KILL))


RECORDED = ["start", "write end.json", "rename attempt.json"]


def test_what_changes_something_is_recorded(
    points: CrashPoints, python: Path, job_id: int, tmp_path: Path
) -> None:
    assert run(python, tmp_path, job_id, WORK) == 0
    assert points.calls(job_id, Caller.SUPERVISOR) == RECORDED
    assert points.interrupted(job_id, Caller.SUPERVISOR) is None


def test_what_follows_a_killed_supervisor_is_left_alone(
    points: CrashPoints, python: Path, job_id: int, tmp_path: Path
) -> None:
    assert run(python, tmp_path, job_id, WORK, "--settle", "137") == 0
    assert points.calls(job_id, Caller.SUPERVISOR) == []


@pytest.mark.parametrize("call", ["3", "rename *"])
def test_it_is_killed_before_the_operation_and_once_only(
    points: CrashPoints, python: Path, job_id: int, tmp_path: Path, call: str
) -> None:
    plan(points, job_id, call)
    assert run(python, tmp_path, job_id, WORK) == -signal.SIGKILL
    assert (tmp_path / "end.json").exists()
    assert points.reached(job_id, Caller.SUPERVISOR) == 3
    assert points.interrupted(job_id, Caller.SUPERVISOR) == "rename attempt.json"
    assert run(python, tmp_path, job_id, WORK) == 0
    assert points.calls(job_id, Caller.SUPERVISOR) == [*RECORDED, *RECORDED]


def test_it_is_killed_soon_after_the_operation(
    points: CrashPoints, python: Path, job_id: int, tmp_path: Path
) -> None:
    plan(points, job_id, "write end.json", When.AFTER)
    code = f"{WORK}\nimport time; time.sleep(600)"
    assert run(python, tmp_path, job_id, code) == -signal.SIGKILL
    assert (tmp_path / "attempt.json").exists()


def test_the_numbers_go_on_in_the_next_supervisor(
    points: CrashPoints, python: Path, job_id: int, tmp_path: Path
) -> None:
    plan(points, job_id, "5")
    assert run(python, tmp_path, job_id, EXEC) == -signal.SIGKILL
    expected = ["start", "exec", *RECORDED]
    assert points.calls(job_id, Caller.SUPERVISOR) == expected
    assert (tmp_path / "end.json").exists()


THREADS = """
import os, threading
def work(name):
    for number in range(50):
        os.mkdir(f"{name}-{number}")
threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_the_operations_of_threads_have_a_number_each(
    points: CrashPoints, python: Path, job_id: int, tmp_path: Path
) -> None:
    plan(points, job_id, "200")
    assert run(python, tmp_path, job_id, THREADS) == -signal.SIGKILL
    interrupted = points.interrupted(job_id, Caller.SUPERVISOR)
    assert interrupted is not None
    # It was not carried out.
    assert not (tmp_path / interrupted.removeprefix("mkdir ").removeprefix("/")).exists()


def test_the_reaper_has_records_of_its_own_and_its_program_has_none(
    points: CrashPoints, python: Path, job_id: int, tmp_path: Path
) -> None:
    code = FORK.format(trainer='os.mkdir("trained")')
    assert run(python, tmp_path, job_id, code) == 0
    assert points.calls(job_id, Caller.SUPERVISOR) == ["start", "fork", *RECORDED[1:]]
    assert points.calls(job_id, Caller.REAPER) == ["fork", "mkdir reaped"]
    assert (tmp_path / "trained").exists()
