"""What every back end says of jobs in every state, on a real cluster."""

import os
import time
from collections.abc import Callable

import pytest

from contrib.testing.dev_cluster import DevCluster
from contrib.testing.waiting import await_
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.errors import JobNotFoundError
from slurm_restart.slurm.interface import Slurm

pytestmark = pytest.mark.cluster

UNKNOWN = 999_999
EPILOG_SECONDS = "3600"
"""Or until it is mended: a job is COMPLETING for as long as the test looks at it."""
LISTED = (
    "uid",
    "state",
    "flags",
    "reason",
    "comment",
    "submit_time",
    "start_time",
    "end_time",
    "time_limit",
    "num_nodes",
    "num_cpus",
    "nodes",
    "exc_nodes",
    "batch_host",
    "partitions",
    "reservation",
    "features",
    "array_job_id",
    "array_task_id",
    "name",
    "work_dir",
    "restarts",
)
# The shell is killed, or sees its child killed; nothing where the order came before the script.
AFTER_CANCEL = {(0, 15), (143, 0), (0, 0)}
HOSTILE = (
    "x JobState=COMPLETED Restarts=99 ExitCode=0:0 x",
    "csx|1|RUNNING|None|0|main",
    "first line\n2|2|N/A|RUNNING|None|0|main|csx1|||1|csx1|1|1|1|UNLIMITED|0:00|1|||/|(null)",
    "JobId=2 JobName=y\n   JobState=RUNNING Reason=None",
    "~0123456789abcdef~" * 3,
    "tab\tcarriage\rbell\aescape\x1b[31m",
    "%j %A $(reboot) `reboot` ; ' \" \\",
    "naïve — 名前 🙂",
    "[]{},<>&*?!#",
)


def is_since(moment: int | None, before: float, *, ahead: float = 0) -> bool:
    """Whether a time of Slurm's, in whole seconds, is between `before` and now.

    Args:
        moment: the time.
        before: when the test began what leads to it.
        ahead: seconds by which the time is to be later.
    """
    return moment is not None and int(before) <= moment - ahead <= time.time()


def completing(
    cluster: DevCluster, slurm: Slurm, script: str, end: Callable[[int], None] | None = None
) -> Job:
    """A job that is COMPLETING and stays so for a while."""
    cluster.fault("slow-epilog", "csx1", EPILOG_SECONDS)
    try:
        job_id = cluster.submit(script, "-w", "csx1", "-o", "/dev/null")
        if end is not None:
            cluster.await_state(job_id, "RUNNING")
            end(job_id)
        cluster.await_state(job_id, "COMPLETING")
        job = slurm.job(job_id)
    finally:
        cluster.fault("mend-epilog", "csx1")
    # One that has not yet seen this would wait on with the next job's, and the node with it.
    await_(lambda: cluster.state(job_id) != "COMPLETING", "the end of the Epilog")
    return job


def shows_base_state(slurm: Slurm) -> bool:
    """Whether Slurm tells the base state of a COMPLETING job."""
    return slurm.release() >= (24, 11)


def test_running(cluster: DevCluster, slurm: Slurm) -> None:
    before = time.time()
    job_id = cluster.submit(
        "sleep 300", "-N2", "-t", "90", "-x", "csx3", "-o", "out-%j.log", "--comment=a user's"
    )
    cluster.await_state(job_id, "RUNNING")
    job = slurm.job(job_id)
    assert (job.job_id, job.uid) == (job_id, cluster.user.pw_uid)
    assert (job.state, job.flags, job.reason) == (JobState.RUNNING, frozenset(), "None")
    assert (job.nodes, job.num_nodes, job.batch_host) == (("csx1", "csx2"), 2, "csx1")
    assert (job.exc_nodes, job.partitions) == (("csx3",), ("main",))
    assert (job.comment, job.admin_comment) == ("a user's", "")
    assert (job.restarts, job.requeue, job.exit_code, job.signal) == (0, True, 0, 0)
    times = (job.submit_time, job.eligible_time, job.start_time)
    assert all(is_since(moment, before) for moment in times)
    assert job.start_time is not None
    assert (job.end_time, job.time_limit) == (job.start_time + 90 * 60, 90 * 60)
    assert 0 <= job.run_time <= time.time() - int(before)
    assert (job.preempt_time, job.reservation, job.features) == (None, None, None)
    assert (job.array_job_id, job.held, job.completing) == (None, False, False)
    assert job.priority
    assert job.work_dir == str(cluster.work)
    assert job.std_out == f"{cluster.work}/out-{job_id}.log"


def test_no_limit_and_default_output(cluster: DevCluster, slurm: Slurm) -> None:
    job_id = cluster.submit("sleep 300")
    cluster.await_state(job_id, "RUNNING")
    job = slurm.job(job_id)
    assert (job.time_limit, job.end_time) == (None, None)
    assert job.std_out == f"{cluster.work}/slurm-{job_id}.out"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("%x-%u-%A-%6j.%%", "a b-{user}-{id}-{id:06}.%"),
        ("/dev/null", "/dev/null"),
        ("../%J/no", "{work}/../{id}/no"),
    ],
)
def test_output_path(cluster: DevCluster, slurm: Slurm, pattern: str, expected: str) -> None:
    job_id = cluster.submit("true", "-H", "-J", "a b", "-o", pattern)
    text = expected.format(id=job_id, user=cluster.user.pw_name, work=cluster.work)
    wanted = text if text.startswith("/") else f"{cluster.work}/{text}"
    assert slurm.job(job_id).std_out == wanted


def test_held(cluster: DevCluster, slurm: Slurm) -> None:
    job_id = cluster.submit("true", "-H", "-N2-3", "-p", "main,high", "--no-requeue")
    job = slurm.job(job_id)
    assert (job.state, job.reason, job.priority) == (JobState.PENDING, "JobHeldUser", 0)
    assert job.held
    assert (job.num_nodes, job.nodes, job.batch_host) == (2, (), None)
    assert set(job.partitions) == {"main", "high"}
    assert (job.start_time, job.end_time, job.run_time) == (None, None, 0)
    assert not job.requeue


def test_begin_time(cluster: DevCluster, slurm: Slurm) -> None:
    before = time.time()
    job_id = cluster.submit("true", "--begin=now+1hour")
    cluster.await_reason(job_id, "BeginTime")
    job = slurm.job(job_id)
    assert (job.state, job.held) == (JobState.PENDING, False)
    assert is_since(job.eligible_time, before, ahead=3600)


@pytest.mark.parametrize(
    ("script", "state", "status"),
    [
        ("exit 5", JobState.FAILED, (5, 0)),
        ("exit 137", JobState.FAILED, (137, 0)),
        ("kill -9 $$", JobState.FAILED, (0, 9)),
        ("true", JobState.COMPLETED, (0, 0)),
    ],
)
def test_ended(
    cluster: DevCluster, slurm: Slurm, script: str, state: JobState, status: tuple[int, int]
) -> None:
    before = time.time()
    job_id = cluster.submit(script, "-o", "/dev/null")
    cluster.await_state(job_id, state.value)
    job = slurm.job(job_id)
    assert (job.state, (job.exit_code, job.signal)) == (state, status)
    assert is_since(job.end_time, before)
    assert job.nodes


def test_completing(cluster: DevCluster, slurm: Slurm) -> None:
    before = time.time()
    failed = completing(cluster, slurm, "exit 5")
    assert failed.flags == {JobFlag.COMPLETING}
    assert failed.state is (JobState.FAILED if shows_base_state(slurm) else None)
    assert (failed.exit_code, failed.signal, failed.reason) == (5, 0, "NonZeroExitCode")
    assert is_since(failed.end_time, before)
    done = completing(cluster, slurm, "true")
    assert done.state is (JobState.COMPLETED if shows_base_state(slurm) else None)
    assert (done.exit_code, done.signal, done.reason) == (0, 0, "None")


def test_completing_after_cancel(cluster: DevCluster, slurm: Slurm) -> None:
    job = completing(cluster, slurm, "sleep 300", slurm.cancel)
    assert job.flags == {JobFlag.COMPLETING}
    assert job.state is (JobState.CANCELLED if shows_base_state(slurm) else None)
    assert (job.exit_code, job.signal) in AFTER_CANCEL
    assert job.restarts == 0


def test_completing_after_requeue(cluster: DevCluster, slurm: Slurm) -> None:
    job = completing(cluster, slurm, "sleep 300", slurm.requeue)
    assert job.state is (JobState.PENDING if shows_base_state(slurm) else None)
    assert (job.flags, job.restarts) == ({JobFlag.COMPLETING}, 1)


def test_cancelled(cluster: DevCluster, slurm: Slurm) -> None:
    job_id = cluster.submit("sleep 300")
    cluster.await_state(job_id, "RUNNING")
    slurm.cancel(job_id)
    cluster.await_state(job_id, "CANCELLED")
    job = slurm.job(job_id)
    assert job.state is JobState.CANCELLED
    assert (job.exit_code, job.signal) in AFTER_CANCEL


def test_preempted_by_requeue(cluster: DevCluster, slurm: Slurm) -> None:
    low = cluster.submit("sleep 300", "-N3", "-p", "main", "--exclusive")
    cluster.await_state(low, "RUNNING")
    high = cluster.submit("sleep 300", "-N3", "-p", "high", "--exclusive")
    cluster.await_state(high, "RUNNING")
    cluster.await_state(low, "PENDING")
    job = slurm.job(low)
    assert (job.state, job.restarts, job.nodes) == (JobState.PENDING, 1, ())


def test_array(cluster: DevCluster, slurm: Slurm) -> None:
    job_id = cluster.submit("true", "--array=1-3", "--begin=now+1hour")
    assert slurm.job(job_id).is_waiting_array
    assert all(job.is_waiting_array for job in slurm.jobs() if job.job_id == job_id)


def test_a_request_about_the_last_task_of_an_array_leaves_the_others(
    cluster: DevCluster, slurm: Slurm
) -> None:
    array = cluster.submit("sleep 300", "--array=1-3", "--requeue", "--comment=all")

    def tasks() -> dict[str, Job]:
        return {job.name: job for job in slurm.jobs() if job.array_job_id == array}

    def all_run() -> bool:
        found = tasks()
        return len(found) == 3 and {job.state for job in found.values()} == {JobState.RUNNING}

    await_(all_run, "all tasks are RUNNING")
    last = tasks()[f"{array}_3"]
    assert last.job_id == array
    assert slurm.job(array).name == last.name
    assert slurm.states([array]).keys() == {array}
    slurm.update(last.name, {"Comment": "last"})
    assert {name: job.comment for name, job in tasks().items()} == {
        f"{array}_1": "all",
        f"{array}_2": "all",
        f"{array}_3": "last",
    }
    slurm.requeue(last.name)
    await_(lambda: slurm.job(array).restarts == 1, "the task is requeued")
    slurm.update(last.name, {"ExcNodeList": "csx1", "StartTime": "now+600"})
    slurm.cancel(last.name)
    others = [job for job in tasks().values() if job.name != last.name]
    assert [(job.state, job.restarts, job.exc_nodes) for job in others] == [
        (JobState.RUNNING, 0, ())
    ] * 2
    # COMPLETING, which has no base state on 22.05, for as long as the batch step ends.
    await_(lambda: slurm.job(array).state is JobState.CANCELLED, "the task is CANCELLED")
    slurm.cancel(f"{array}_1")
    slurm.cancel(f"{array}_2")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_fools_nobody(cluster: DevCluster, slurm: Slurm, text: str) -> None:
    directory = cluster.work / f"d {text.replace('/', '_')}"[:80]
    directory.mkdir(exist_ok=True)
    directory.chmod(0o777)
    job_id = cluster.submit(
        "sleep 300",
        "-N1",
        f"--job-name={text}",
        f"--comment={text}",
        f"--wckey={text}",
        f"--account={text}",
        f"--chdir={directory}",
        "--output=/dev/null",
    )
    cluster.run("scontrol", "update", f"JobId={job_id}", f"AdminComment={text}", as_root=True)
    cluster.await_state(job_id, "RUNNING")
    listed = next(job for job in slurm.jobs() if job.job_id == job_id)
    for job in (slurm.job(job_id), listed):
        assert (job.uid, job.comment) == (cluster.user.pw_uid, text)
        assert (job.state, job.flags) == (JobState.RUNNING, frozenset())
        assert (job.restarts, job.exit_code, job.num_nodes) == (0, 0, 1)
        assert (job.partitions, job.work_dir) == (("main",), str(directory))
    assert slurm.job(job_id).admin_comment == text


def test_text_that_is_not_utf_8(cluster: DevCluster, slurm: Slurm) -> None:
    other = cluster.submit("true", "-H")
    job_id = cluster.submit("true", "-H", "--comment=caf\udce9")
    listed = {job.job_id: job for job in slurm.jobs()}
    assert listed[job_id].comment == slurm.job(job_id).comment == "caf\ufffd"
    assert listed[other].comment == ""


def test_comment_of_1024_characters(cluster: DevCluster, slurm: Slurm) -> None:
    text = "|~x" * 341 + "z"
    job_id = cluster.submit("true", "-H", f"--comment={text}")
    assert slurm.job(job_id).comment == text


def test_jobs_agree_with_job(cluster: DevCluster, slurm: Slurm) -> None:
    """The list shows the same as the single record, in the fields that it has."""
    pending = cluster.submit("true", "-H", "-N2", "-x", "csx[1-2]", "-t", "10", "--comment=c")
    running = cluster.submit("sleep 300", "-N1")
    failed = cluster.submit("exit 3", "-o", "/dev/null")
    requeued = cluster.submit("sleep 300", "-N1")
    cluster.await_state(failed, "FAILED")
    task_0 = cluster.submit("sleep 300", "-t", "60", "--array=0")
    cluster.await_state(task_0, "RUNNING")
    cluster.await_state(running, "RUNNING")
    cluster.await_state(requeued, "RUNNING")
    slurm.requeue(requeued)
    cluster.await_state(requeued, "PENDING")
    ids = (pending, running, failed, requeued, task_0)

    def listed() -> dict[int, dict[str, object]]:
        jobs = {job.job_id: job for job in slurm.jobs()}
        return {job_id: shown(jobs[job_id]) for job_id in ids}

    def shown(job: Job) -> dict[str, object]:
        return {field: getattr(job, field) for field in LISTED}

    several: dict[int, dict[str, object]] = {}
    single: dict[int, dict[str, object]] = {}

    def is_unchanged() -> bool:
        # The scheduler may change the reason of a waiting job between two questions.
        several.update(listed())
        single.update({job_id: shown(slurm.job(job_id)) for job_id in ids})
        return several == listed()

    await_(is_unchanged, "a moment in which no job changes")
    assert single == several
    assert single[requeued]["restarts"] == 1
    assert (single[task_0]["array_job_id"], single[task_0]["array_task_id"]) == (task_0, 0)


def test_jobs_of_one_user(cluster: DevCluster, slurm: Slurm) -> None:
    theirs = cluster.submit("true", "-H")
    admins = cluster.submit("true", "-H", as_root=True)
    shown = {job.job_id for job in slurm.jobs(uid=cluster.user.pw_uid)}
    assert theirs in shown
    assert (admins in shown) is (os.geteuid() == cluster.user.pw_uid)
    assert slurm.jobs(uid=4_000_000) == ()


def test_unknown_job(slurm: Slurm) -> None:
    for call in (slurm.job, slurm.requeue, slurm.hold, slurm.release_job, slurm.cancel):
        with pytest.raises(JobNotFoundError):
            call(UNKNOWN)
    with pytest.raises(JobNotFoundError):
        slurm.update(UNKNOWN, {"Comment": "x"})
    assert UNKNOWN not in {job.job_id for job in slurm.jobs()}


def test_a_held_job_is_not_started(cluster: DevCluster, slurm: Slurm) -> None:
    job_id = cluster.submit("sleep 300", "--begin=now+1hour")
    slurm.hold(job_id)
    assert slurm.job(job_id).held
    slurm.release_job(job_id)
    slurm.update(job_id, {"StartTime": "now"})
    assert not slurm.job(job_id).held
    await_(lambda: slurm.job(job_id).state is JobState.RUNNING, "the job runs")
