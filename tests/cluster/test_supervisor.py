"""The supervisor as a batch job: what Slurm does to it, and what it says to Slurm.

Runs without restarts, so that each job is one attempt, and its Comment the supervisor's last word.
"""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from contrib.testing.dev_cluster import AS_ROOT
from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_
from slurm_restart.core.category import Category
from slurm_restart.core.job_comment import CommentRecord, parse_comment, split_user_comment


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 3}


def submit(
    cluster: ManagedCluster,
    command: str,
    *options: str,
    nodes: int = 1,
    restarts: int = 0,
    **more: object,
) -> int:
    """Submit a run with that command, of one attempt unless restarts are given."""
    config = cluster.config(command=command, nodes=nodes, min_nodes=1, restarts=restarts, **more)
    [job_id] = cluster.csx_sbatch(config, *options)
    return job_id


def comment(cluster: ManagedCluster, job_id: int) -> str:
    return cluster.run("squeue", "-h", "-a", "-t", "all", "-j", str(job_id), "-o", "%k").rstrip(
        "\n"
    )


def comment_record(cluster: ManagedCluster, job_id: int) -> CommentRecord:
    return parse_comment(comment(cluster, job_id))


def output(cluster: ManagedCluster, attempt: int = 0) -> Path:
    return cluster.run_dir() / "attempts" / str(attempt) / "output.log"


def await_output(cluster: ManagedCluster, text: str) -> None:
    def there() -> bool:
        try:
            return text in output(cluster).read_text()
        except (OSError, ValueError):
            return False

    await_(there, f"{text!r} in output.log")


def survivors(cluster: ManagedCluster, *names: str) -> list[int]:
    """Processes of the cluster's jobs that sleep for one of these odd numbers of seconds."""
    return [
        process.pid
        for process in job_processes(cluster)
        if process.words[1:2] in [(name,) for name in names] and process.words[0].endswith("sleep")
    ]


def test_the_last_word(cluster: ManagedCluster) -> None:
    """The digest while the trainer runs, and after its end, with the user's comment behind it."""
    job_id = submit(cluster, "echo ready; while [ ! -e go ]; do sleep 0.1; done; exit 5",
                    "--comment", "mine | own")  # fmt: skip
    await_output(cluster, "ready")
    await_(lambda: comment_record(cluster, job_id).attempt == 0, "the first word")
    said = comment_record(cluster, job_id)
    assert (said.restarts, said.from_step, said.step, said.ended) == (0, 0, None, False)
    job = cluster.job(job_id)
    assert said.submit is not None
    assert job["Restarts"] == "0"
    assert split_user_comment(comment(cluster, job_id)) == "mine | own"
    # A person changes the text behind the digest, and with it the policy.
    changed = comment(cluster, job_id).replace("max=0", "max=1").replace("mine", "new")
    cluster.run("scontrol", "update", f"JobId={job_id}", f"Comment={changed}")
    cluster.run("touch", "go")
    await_(lambda: comment_record(cluster, job_id).ended, "the last word")
    said = comment_record(cluster, job_id)
    assert (said.exit, said.cause, said.rule) == (5, Category.UNKNOWN, "exit.nonzero")
    assert said.max_restarts == 1
    assert split_user_comment(comment(cluster, job_id)) == "new | own"


def test_a_finished_run(cluster: ManagedCluster) -> None:
    job_id = submit(cluster, "cszoo fit {config}", steps=10, every=5)
    assert cluster.await_end(job_id) == "COMPLETED"
    said = comment_record(cluster, job_id)
    assert (said.cause, said.exit, said.step) == (Category.COMPLETED, 0, 10)
    log = (cluster.run_dir() / "run.log").read_text()
    assert "[run_1]" in log
    assert "checkpoint at step 10: checkpoint_10.mdl" in log
    # Slurm's log holds the trainer's output, and the supervisor's words.
    slurm_log = Path(
        cluster.run("scontrol", "show", "job", "-o", str(job_id)).partition("StdOut=")[2].split()[0]
    )
    text = slurm_log.read_text()
    assert (
        output(cluster).read_text() in text.replace("csx-restart: ", "\ncsx-restart: ")
        or "Step=10" in text
    )


def test_the_supervisor_is_killed(cluster: ManagedCluster) -> None:
    """Nothing of the trainer outlives it: not its children, not a daemon, not the step's tasks."""
    command = (
        "test {attempt} = 1 && exit 0; "
        "setsid sh -c 'trap \"\" TERM; sleep 73901; sleep 73901' & "
        "srun --overlap -N2 sleep 73902 & wait"
    )
    # A short attempt of whose end nothing is known counts as a failure.
    job_id = submit(cluster, command, nodes=2, restarts=1)
    await_(
        lambda: len(survivors(cluster, "73902")) >= 2 and survivors(cluster, "73901"), "all of them"
    )
    os.kill(cluster.batch_pid(job_id), signal.SIGKILL)
    await_(
        lambda: not survivors(cluster, "73901") and not survivors(cluster, "73902"), "nothing left"
    )
    assert cluster.await_end(job_id) == "COMPLETED"
    assert [end["failures"] for end in cluster.ends(job_id)] == [1, 1]
    first, second = cluster.summary()["runs"]
    assert first["settled_afterwards"] is True
    assert first["failure_reason"].startswith("no exit record was written")
    assert second["status"] == "success"
    assert "[run_1]" in (cluster.run_dir() / "run.log").read_text()


def test_supervisor_and_reaper_are_killed_together(cluster: ManagedCluster) -> None:
    """What is left of the trainer is ended before the next attempt chooses a checkpoint.

    A process in a session of its own survives them; the daemons of the test cluster end no process
    by a cgroup.
    """
    daemon = cluster.script("trap '' TERM; sleep 73907 & exec sleep 73906")
    command = (
        f"test {{attempt}} = 1 && exit 0; setsid {daemon} & setsid sleep 73906 & "
        "srun --overlap -N2 sleep 73909; wait"
    )
    job_id = submit(cluster, command, nodes=2, restarts=1)
    await_(
        lambda: len(survivors(cluster, "73906")) == 2 and survivors(cluster, "73907"),
        "what will be left",
    )
    supervisor = cluster.batch_pid(job_id)
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    os.kill(supervisor, signal.SIGSTOP)
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    assert len(survivors(cluster, "73906")) == 2
    assert cluster.await_end(job_id) == "COMPLETED"
    assert survivors(cluster, "73906", "73907") == []
    log = (cluster.run_dir() / "run.log").read_text()
    # On a busy machine srun and the shell may not have ended yet, and are counted with these three.
    killed = re.findall(r"(\d+) process(?:es)? of .* killed on csx", log)
    assert sum(map(int, killed)) >= 3, log


def test_a_command_runs_once_on_each_node_of_a_job(cluster: ManagedCluster) -> None:
    """As the supervisor looks for processes of earlier attempts on other nodes."""
    (cluster.work / "on_nodes.py").write_text(
        "import os\n"
        "from slurm_restart.slurm.commands import Commands\n"
        "show = ['/bin/sh', '-c', 'echo $SLURMD_NODENAME']\n"
        "job_id = int(os.environ['SLURM_JOB_ID'])\n"
        "print(Commands().run_on_nodes(job_id, ['csx2', 'csx3'], show), end='')\n"
    )
    # The trainer's own step holds all CPUs.
    job_id = cluster.submit(
        f"srun -N3 sleep 73910 & exec {sys.executable} on_nodes.py",
        "--nodes=3",
        "--exclusive",
        "--output=on_nodes.log",
    )
    assert cluster.await_end(job_id) == "COMPLETED"
    assert sorted((cluster.work / "on_nodes.log").read_text().split()[:2]) == ["csx2", "csx3"]


def test_the_owners_question_settles_what_nobody_else_could(cluster: ManagedCluster) -> None:
    job_id = submit(cluster, "echo ready; exec sleep 73905")
    await_output(cluster, "ready")
    # A node that is gone takes the supervisor along, and a person does not want the job any more.
    node = cluster.nodes_of(job_id)[0]
    cluster.fault("kill-slurmd", node)
    cluster.run("scancel", str(job_id))
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test", as_root=True)
    assert cluster.await_end(job_id) == "CANCELLED"
    assert cluster.summary()["runs"] == []
    cluster.run("csx-restart", "status", str(job_id))
    (entry,) = cluster.summary()["runs"]
    assert (entry["settled_afterwards"], entry["category"]) == (True, "cancelled")
    assert "has ended: CANCELLED" in (cluster.run_dir() / "run.log").read_text()


@pytest.mark.parametrize("trap", ["", "trap 'echo told; exit 0' TERM; "])
def test_scancel(cluster: ManagedCluster, trap: str) -> None:
    job_id = submit(cluster, f"{trap}sleep 73903 & echo ready; wait")
    await_output(cluster, "ready")
    cluster.run("scancel", str(job_id))
    assert cluster.await_end(job_id) == "CANCELLED"
    await_(lambda: not survivors(cluster, "73903"), "nothing left")
    end = json.loads((cluster.run_dir() / "attempts/0/end.json").read_text())
    assert end["rule"] == "supervisor.terminated"


def test_the_time_limit_is_near(cluster: ManagedCluster) -> None:
    """The signal that Slurm sends ahead of the limit, here at a moment that the test chooses."""
    job_id = submit(cluster, "echo ready; exec sleep 73904")
    await_output(cluster, "ready")
    cluster.run("scancel", "--signal=USR1", "--batch", str(job_id))
    assert cluster.await_end(job_id) == "FAILED"
    await_(lambda: not survivors(cluster, "73904"), "nothing left")
    said = comment_record(cluster, job_id)
    assert (said.cause, said.exit) == (Category.TIMEOUT, 143)
    assert "the job's time limit is near" in (cluster.run_dir() / "run.log").read_text()


def test_slurmctld_does_not_answer(cluster: ManagedCluster) -> None:
    """The training goes on without it, and its end is said when it answers again."""
    command = "echo ready; while [ ! -e go ]; do sleep 0.1; done; exit 6"
    job_id = submit(cluster, command)
    await_output(cluster, "ready")
    await_(lambda: comment_record(cluster, job_id).attempt == 0, "the first word")
    cluster.fault("freeze-ctld")
    (cluster.work / "go").touch()
    await_(
        lambda: "exit code 6" in (cluster.run_dir() / "run.log").read_text(), "the end on record"
    )
    # At once: the supervisor does not wait for ever.
    os.kill(int((cluster.root / "run" / "slurmctld.pid").read_text()), signal.SIGCONT)
    await_(lambda: comment_record(cluster, job_id).ended, "the last word")
    assert comment_record(cluster, job_id).exit == 6


@pytest.mark.skipif(not AS_ROOT, reason="closes a directory to another user")
@pytest.mark.parametrize("closed", [".", "plan.json", "attempts", ".."])
def test_a_run_directory_that_cannot_be_read_uses_up_the_budget(
    cluster: ManagedCluster, closed: str
) -> None:
    """Each attempt reports it, so that restarts are counted and the last one is final."""
    job_id = submit(
        cluster, "echo ready; while [ ! -e go ]; do sleep 0.1; done; exit 5", restarts=2
    )
    await_output(cluster, "ready")
    await_(lambda: comment_record(cluster, job_id).attempt == 0, "the first word")
    place = (cluster.run_dir() / closed).resolve()
    mode = place.stat().st_mode
    place.chmod(0)
    (cluster.work / "go").touch()
    try:
        assert cluster.await_end(job_id) == "FAILED"
    finally:
        place.chmod(mode)
    ends = cluster.ends(job_id)
    assert [end["failures"] for end in ends] == [1, 2, 3]
    assert [end["category"] for end in ends[1:]] == ["storage.io"] * 2
    assert cluster.job(job_id)["Restarts"] == "2"
    said = comment_record(cluster, job_id)
    assert (said.cause, said.exit, said.ended) == (Category.STORAGE_IO, 74, True)
