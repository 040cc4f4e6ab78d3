"""Jobs are handed over to one helper, which slurmctld does not wait for."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.waiting import await_
from slurm_restart.control import waiting_jobs
from slurm_restart.control.controller import Controller
from slurm_restart.control.waiting_jobs import WaitingJobs, hand_over
from tests.unit.control.conftest import CLUSTER, log_of


@pytest.fixture
def waiting(tmp_path: Path) -> WaitingJobs:
    return WaitingJobs(state_dir=tmp_path, cluster=CLUSTER)


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Helpers are not started; each keeps its lock. Returns their descriptors."""
    started: list[int] = []
    monkeypatch.setattr(
        waiting_jobs, "_start_helper", lambda _site, _cluster, lock: started.append(os.dup(lock))
    )
    return started


def test_jobs_are_added_and_removed(waiting: WaitingJobs) -> None:
    assert waiting.added() == {}
    before = time.time() - 1
    waiting.add(7)
    waiting.add(8)
    assert set(waiting.added()) == {7, 8}
    assert all(before < at < time.time() + 1 for at in waiting.added().values())
    waiting.remove(7)
    waiting.remove(7)
    assert set(waiting.added()) == {8}


def test_a_job_that_is_added_again_waits_from_then_on(waiting: WaitingJobs) -> None:
    waiting.add(7)
    os.utime(waiting.folder / "7", (1, 1))
    waiting.add(7)
    assert waiting.added()[7] > 1


def test_each_cluster_has_its_own(waiting: WaitingJobs, tmp_path: Path) -> None:
    other = WaitingJobs(state_dir=tmp_path, cluster="../-x\u00fc")
    waiting.add(7)
    other.add(8)
    assert (set(waiting.added()), set(other.added())) == ({7}, {8})
    held = waiting.try_lock(), other.try_lock()
    assert None not in held
    for lock in held:
        os.close(lock or 0)


def test_there_is_one_helper(controller: Controller, helpers: list[int], tmp_path: Path) -> None:
    for job_id in (7, 8, 9):
        hand_over(controller, job_id, tmp_path)
    assert len(helpers) == 1
    waiting = WaitingJobs(state_dir=tmp_path, cluster=CLUSTER)
    assert set(waiting.added()) == {7, 8, 9}
    assert waiting.try_lock() is None
    os.close(helpers[0])
    hand_over(controller, 10, tmp_path)
    assert len(helpers) == 2
    os.close(helpers[1])


def test_a_job_is_added_before_the_lock_is_tried(
    controller: Controller, helpers: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []
    try_lock = WaitingJobs.try_lock

    def look(waiting: WaitingJobs) -> int | None:
        seen.append(set(waiting.added()))
        return try_lock(waiting)

    monkeypatch.setattr(WaitingJobs, "try_lock", look)
    hand_over(controller, 7, tmp_path)
    assert seen == [{7}]
    os.close(helpers[0])


def test_without_a_place_for_the_file_the_reconciler_is_left(
    controller: Controller, helpers: list[int], tmp_path: Path
) -> None:
    (tmp_path / "waiting").write_text("a file")
    hand_over(controller, 7, tmp_path)
    assert helpers == []
    assert "job 7: no helper: " in log_of(controller)


# --- the process of its own ----------------------------------------------------------------------

HELPER = """
import json, os, sys, time
from pathlib import Path
def target(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None
folder, cluster, lock = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
facts = {
    "session": os.getsid(0) == os.getpid(),
    "descriptors": [target(n) for n in (0, 1, 2)],
    "lock": target(lock),
    "others": [n for n in range(3, 256) if n != lock and (target(n) or "").endswith("/null")],
    "cluster": cluster,
    "isolated": sys.flags.isolated,
}
(folder / "answer.part").write_text(json.dumps(facts))
(folder / "answer.part").rename(folder / "answer")
while not (folder / "leave").exists():
    time.sleep(0.01)
"""
HOOK = f"""
import os, sys
from pathlib import Path
from slurm_restart.control import waiting_jobs
from slurm_restart.control.controller import Controller
from slurm_restart.control.site import Site
waiting_jobs.HELPER = {HELPER!r}
inherited = os.open(os.devnull, os.O_RDONLY)
os.set_inheritable(inherited, True)
folder = Path(sys.argv[1])
controller = Controller(slurm=None, site=Site(state_dir=folder), cluster="c")
waiting_jobs.hand_over(controller, 7, folder)
print("the hook has ended", flush=True)
"""


@pytest.fixture
def helper(tmp_path: Path, waiting: WaitingJobs) -> Any:
    """What a helper says of itself; the hook has ended while the helper was alive."""
    try:
        # Its output is a pipe: this returns only when no process holds it any more.
        done = subprocess.run(
            # Not isolated, so that PYTHONPATH can name another copy of the package.
            [sys.executable, "-P", "-c", HOOK, str(tmp_path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        assert done.stdout == "the hook has ended\n"
        answer = tmp_path / "answer"
        await_(answer.exists, "the helper's report")
        assert waiting.try_lock() is None
        yield json.loads(answer.read_text())
    finally:
        (tmp_path / "leave").touch()


def test_the_helper_has_a_session_of_its_own(helper: dict[str, Any]) -> None:
    assert helper["session"]
    assert helper["isolated"]


def test_the_helper_keeps_the_lock_and_no_other_descriptor(
    helper: dict[str, Any], waiting: WaitingJobs
) -> None:
    assert helper["descriptors"] == [os.devnull] * 3
    assert helper["lock"] == str(waiting.folder / "lock")
    assert helper["others"] == []


def test_the_lock_is_free_when_the_helper_has_ended(
    helper: dict[str, Any], waiting: WaitingJobs, tmp_path: Path
) -> None:
    assert helper["cluster"] == "c"
    (tmp_path / "leave").touch()
    locks: list[int] = []

    def taken() -> bool:
        lock = waiting.try_lock()
        locks.extend([] if lock is None else [lock])
        return bool(locks)

    await_(taken, "the lock")
    os.close(locks[0])
