"""Many ends at once, and a hook without Python, state directory, disk or answer: no job is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest

from contrib.testing.managed_cluster import FAST, ManagedCluster
from contrib.testing.waiting import LONG_DEADLINE, await_
from slurm_restart.control.hook_script import hook_text
from slurm_restart.control.site import load_site
from slurm_restart.core.slurm_operations import JUDGED_LATER, LATE_BEGIN

JOBS, SLOTS = 40, 2
LIMITS = {"concurrency": SLOTS}
# A job without a supervisor that ends with exit code 0: a hook cannot tell how, a sweep can.
JUDGED = (["unknown", "cancelled"], ["unknown", "completed"])


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    # Many small jobs may share a node: a storm of ends needs no storm of slurmds.
    options = ("--cpus", "16", "--partition-set", "OverSubscribe=NO")
    return {"nodes": 3, "hook": LIMITS, "options": options}


@pytest.fixture(autouse=True)
def _as_installed(cluster: ManagedCluster) -> Iterator[None]:
    """The settings as installed, before every test; what the hook logged where one has failed."""
    cluster.configure(policy=FAST, hook=LIMITS)
    yield
    print(cluster.hook_log()[-3000:])  # noqa: T201 - shown where the test has failed


class Jobs:
    """Managed jobs that fail together in their first attempt, and succeed in the second.

    Each has a dependent job that Slurm cancels if the first one is ever finally FAILED.
    """

    def __init__(self, cluster: ManagedCluster, count: int, *, number: int = 0) -> None:
        self.cluster = cluster
        self.fifo = cluster.work / "go"
        os.mkfifo(self.fifo)
        self.fifo.chmod(0o644)
        runs = range(number, number + count)
        self.ids = [self._submit(run) for run in runs]
        self.dependents = [
            cluster.submit("exit 0", "-n1", f"-dafterok:{job_id}", "--kill-on-invalid-dep=yes")
            for job_id in self.ids
        ]
        for job_id in self.ids:
            cluster.await_state(job_id, "RUNNING")

    def _submit(self, run: int) -> int:
        text = f'[ -z "$SLURM_RESTART_COUNT" ] || exit 0\n: <{self.fifo}\nexit 3'
        comment = f"--comment=csx-restart/1 run={run:016x};max=3;num=1;min=1"
        return self.cluster.submit(text, "--requeue", "-n1", comment)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Let all fail at once: who waits to open the FIFO for reading goes on."""
        writer = os.open(self.fifo, os.O_RDWR)
        try:
            yield
            # A job is RUNNING before its script waits.
            await_(
                lambda: all(self.cluster.state(job_id) != "RUNNING" for job_id in self.ids),
                "the end of all jobs",
            )
        finally:
            os.close(writer)

    def fail(self) -> None:
        """Let all fail at once, and wait until all have ended."""
        with self.failing():
            pass

    def restarted(self) -> None:
        """Each job ran once more, was judged once for each end, and its dependent ran."""
        for job_id, dependent in zip(self.ids, self.dependents, strict=True):
            assert self.cluster.await_end(job_id) == "COMPLETED"
            assert self.cluster.job(job_id)["Restarts"] == "1"
            assert self.cluster.await_state(dependent, "COMPLETED", "CANCELLED") == "COMPLETED"
        self.cluster.await_helper()
        self.cluster.reconcile()
        for job_id in self.ids:
            ends = self.cluster.ends(job_id)
            assert [end["category"] for end in ends] in JUDGED
            assert [end["total"] for end in ends] == [1, 1]
        await_(lambda: queued(self.cluster) == [], "an empty queue")

    def requeued_late(self) -> None:
        """Each job is pending with the begin time of csx-epilog, and its dependent lives."""
        for job_id, dependent in zip(self.ids, self.dependents, strict=True):
            self.cluster.await_state(job_id, "PENDING")
            begins = datetime.fromisoformat(self.cluster.job(job_id)["EligibleTime"])
            assert begins.timestamp() > time.time() + LATE_BEGIN / 2
            shown = self.cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
            assert JUDGED_LATER in shown
            assert self.cluster.ends(job_id) == []
            assert self.cluster.state(dependent) == "PENDING"


def queued(cluster: ManagedCluster) -> list[Path]:
    """The ends that are not judged."""
    folder = cluster.state_dir / "queue"
    return sorted(folder.iterdir()) if folder.exists() else []


def processes(pattern: str) -> list[int]:
    """Processes by their command line."""
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def workers(cluster: ManagedCluster) -> list[int]:
    """The Python processes that judge ends."""
    found = []
    for pid in processes(f"epilog import main.*{cluster.site} "):
        with suppress(OSError):
            if Path(f"/proc/{pid}/exe").readlink().name.startswith("python"):
                found.append(pid)
    return found


def use_python(cluster: ManagedCluster, python: Path) -> None:
    """Install the hook with another interpreter."""
    new = cluster.hook.with_suffix(".new")
    new.write_text(hook_text(cluster.site, load_site(cluster.site), python=python))
    new.chmod(0o755)
    new.replace(cluster.hook)


def judged_by_a_sweep(jobs: Jobs) -> None:
    """The next sweep judges what csx-epilog could not, with the facts that it has kept."""
    jobs.cluster.install_hook()
    jobs.cluster.reconcile()
    for job_id in jobs.ids:
        # A job may have run again by now.
        end = jobs.cluster.ends(job_id)[0]
        assert (end["action"], end["rule"], end["total"]) == ("adjust", "exit.nonzero", 1)
    jobs.restarted()


# --- a storm -------------------------------------------------------------------------------------


def test_a_storm(cluster: ManagedCluster) -> None:
    jobs = Jobs(cluster, JOBS)
    most = 0

    def judged() -> bool:
        nonlocal most
        most = max(most, len(workers(cluster)))
        return sum(bool(cluster.ends(job_id)) for job_id in jobs.ids) == JOBS

    with jobs.failing():
        await_(judged, "all ends judged", timeout=LONG_DEADLINE)
    assert 1 <= most <= SLOTS
    assert {cluster.ends(job_id)[0]["source"] for job_id in jobs.ids} == {"hook"}
    jobs.restarted()
    assert processes(f"requeue_helper import main.* {cluster.site}") == []


# --- without Python, state directory or disk -----------------------------------------------------


def test_no_python(cluster: ManagedCluster) -> None:
    jobs = Jobs(cluster, 3)
    use_python(cluster, cluster.site_dir / "no-python")
    jobs.fail()
    jobs.requeued_late()
    assert cluster.hook_log().count("exit status 127") == 2 * 3
    judged_by_a_sweep(jobs)


def test_completed_and_cancelled_jobs_stay_ended_without_python(cluster: ManagedCluster) -> None:
    use_python(cluster, cluster.site_dir / "no-python")
    comment = f"--comment=csx-restart/1 run={1:016x};max=3;num=1;min=1"
    completed = cluster.submit("exit 0", "--requeue", "-n1", comment)
    cancelled = cluster.submit("sleep 1000", "--requeue", "-n1", comment)
    cluster.await_state(cancelled, "RUNNING")
    cluster.run("scancel", str(cancelled))
    assert cluster.await_state(completed, "COMPLETED", "PENDING") == "COMPLETED"
    assert cluster.await_state(cancelled, "CANCELLED", "PENDING") == "CANCELLED"
    await_(lambda: len(queued(cluster)) == 2, "both ends are kept")
    cluster.install_hook()
    cluster.reconcile()
    assert queued(cluster) == []
    for job_id, state in ((completed, "COMPLETED"), (cancelled, "CANCELLED")):
        assert cluster.state(job_id) == state
        assert cluster.job(job_id)["Restarts"] == "0"
        assert [end["action"] for end in cluster.ends(job_id)] == ["leave"]


def test_a_journal_that_cannot_be_written(cluster: ManagedCluster) -> None:
    # As on a full disk: no process below the interpreter can write a byte to a file.
    python = cluster.site_dir / "python-on-full-disk"
    python.write_text(f'#!/bin/sh\nulimit -f 0\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    jobs = Jobs(cluster, 3)
    use_python(cluster, python)
    jobs.fail()
    jobs.requeued_late()
    judged_by_a_sweep(jobs)


def test_a_full_disk(cluster: ManagedCluster) -> None:
    real = cluster.hook.with_name("csx-epilog.real")
    real.write_text(cluster.hook.read_text())
    real.chmod(0o755)
    new = cluster.hook.with_suffix(".new")
    new.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f 0\nexec {real}\n")
    new.chmod(0o755)
    jobs = Jobs(cluster, 3)
    new.replace(cluster.hook)
    jobs.fail()
    jobs.requeued_late()
    assert queued(cluster) == []
    cluster.install_hook()
    for job_id in jobs.ids:
        assert cluster.await_end(job_id) == "COMPLETED"
        assert cluster.job(job_id)["Restarts"] == "1"


def test_no_state_directory(cluster: ManagedCluster) -> None:
    jobs = Jobs(cluster, 3)
    aside = cluster.state_dir.with_name("aside")
    cluster.state_dir.rename(aside)
    cluster.state_dir.write_text("a file where the directory is to be")
    try:
        jobs.fail()
        for job_id in jobs.ids:
            cluster.await_state(job_id, "PENDING")
            shown = cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
            assert JUDGED_LATER in shown
    finally:
        cluster.state_dir.unlink()
        aside.rename(cluster.state_dir)
    for job_id, dependent in zip(jobs.ids, jobs.dependents, strict=True):
        assert cluster.await_end(job_id) == "COMPLETED"
        assert cluster.job(job_id)["Restarts"] == "1"
        assert cluster.await_state(dependent, "COMPLETED", "CANCELLED") == "COMPLETED"


# --- a process that judges is killed, or stands still --------------------------------------------


def hold_the_first_query(cluster: ManagedCluster, **limits: object) -> Path:
    """Let the first squeue of the hook wait; return the directory in which `go` ends the wait."""
    flags = cluster.site_dir / "flags"
    flags.mkdir(exist_ok=True)
    flags.chmod(0o777)
    for flag in flags.iterdir():
        flag.rmdir()
    folder = cluster.site_dir / "stub-bin"
    folder.mkdir(exist_ok=True)
    for program in ("scontrol", "sinfo", "scancel"):
        if not (folder / program).exists():
            (folder / program).symlink_to(cluster.bin_dir / program)
    stub = folder / "squeue"
    wait = f"while [ ! -e {flags}/go ]; do sleep 0.1; done"
    stub.write_text(
        f"#!/bin/sh\nif mkdir {flags}/held 2>/dev/null; then {wait}; fi\n"
        f'exec {cluster.bin_dir}/squeue "$@"\n'
    )
    stub.chmod(0o755)
    cluster.configure(policy=FAST, hook=LIMITS | {"concurrency": 1} | limits)
    settings = cluster.site.read_text().replace(f'"{cluster.bin_dir}"', f'"{folder}"')
    new = cluster.site.with_suffix(".new")
    new.write_text(settings)
    new.replace(cluster.site)
    return flags


def test_a_killed_process_is_replaced(cluster: ManagedCluster) -> None:
    jobs = Jobs(cluster, 6)
    flags = hold_the_first_query(cluster)
    jobs.fail()
    await_((flags / "held").exists, "a process asks Slurm about its end")
    [pid] = workers(cluster)
    os.kill(pid, signal.SIGKILL)
    (flags / "go").mkdir()
    jobs.restarted()
    assert "exit status 137" in cluster.hook_log()
    assert {cluster.ends(job_id)[0]["source"] for job_id in jobs.ids} == {"hook"}


def test_a_process_that_stands_still(cluster: ManagedCluster) -> None:
    jobs = Jobs(cluster, 4)
    flags = hold_the_first_query(cluster, queue_timeout=1.0)
    jobs.fail()
    await_((flags / "held").exists, "a process asks Slurm about its end")
    [pid] = workers(cluster)
    os.kill(pid, signal.SIGSTOP)
    try:
        await_(lambda: len(late(jobs)) == 3, "the other jobs are requeued late")
        assert [cluster.state(job_id) for job_id in jobs.ids if job_id not in late(jobs)] == [
            "COMPLETING"
        ]
    finally:
        (flags / "go").mkdir()
        os.kill(pid, signal.SIGCONT)
    jobs.restarted()


def late(jobs: Jobs) -> list[int]:
    """The jobs that csx-epilog has requeued by itself."""
    found = []
    for job_id in jobs.ids:
        shown = jobs.cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
        if JUDGED_LATER in shown and jobs.cluster.state(job_id) == "PENDING":
            found.append(job_id)
    return found
