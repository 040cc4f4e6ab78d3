"""Batch scripts as people have them: submitted with csx-sbatch, and nothing else."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_
from slurm_restart.core.array_task import run_of_task
from slurm_restart.trainer.run_plan import RunPlan

# An existing job script. It counts in a file, and goes on from it; `steps` has a line a start.
JOB = """\
#!/bin/bash
# A simulation: its state is the number in `state`.
#SBATCH --job-name=simulation
#SBATCH --nodes=1            # one node
#SBATCH --ntasks=1
#SBATCH --time=30
#SBATCH --output=sim-%j.out

set -eu
cd "$SLURM_SUBMIT_DIR"
last=${1:-60}
state=$(cat state 2> /dev/null || echo 0)
echo "start at $state of $last on $(hostname), job $SLURM_JOB_ID"
echo "$state" >> starts
while [ "$state" -lt "$last" ]; do
    while [ "$state" -eq 20 ] && [ ! -e go ]; do sleep 0.05; done
    state=$((state + 1))
    echo "$state" > state.new && mv state.new state
done
echo "done at $state"
"""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    # Jobs share nodes, as on most clusters.
    return {"nodes": 3, "options": ("--partition-set", "OverSubscribe=NO")}


def submit_script(
    cluster: ManagedCluster,
    *arguments: str,
    text: str = JOB,
    options: tuple[str, ...] = ("--max-restarts", "3"),
) -> int:
    """Submit a script as it is; the job's id."""
    (cluster.work / "job.sh").write_text(text)
    return int(cluster.run("csx-sbatch", "--parsable", *options, "job.sh", *arguments))


def await_state(cluster: ManagedCluster, state: int) -> None:
    await_(lambda: read(cluster.work / "state") == str(state), f"state {state} of the simulation")


def read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def runs(cluster: ManagedCluster) -> list[dict[str, Any]]:
    """The attempts of the newest run that have ended."""
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    return list(json.loads((run_dir / "summary.json").read_text())["runs"])


def program_pid(cluster: ManagedCluster, job_id: int) -> int:
    """The process of the user's script in a job."""
    for process in job_processes(cluster, job_id):
        script = Path(*process.words[1:2])
        if script.name == "job.sh" and script.is_relative_to(cluster.work):
            return process.pid
    raise AssertionError(f"job {job_id}: its script is not running")


@pytest.mark.core
def test_a_script_whose_process_is_killed_goes_on(cluster: ManagedCluster) -> None:
    job_id = submit_script(cluster, "50")
    await_state(cluster, 20)
    os.kill(program_pid(cluster, job_id), signal.SIGKILL)
    (cluster.work / "go").touch()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert (cluster.work / "starts").read_text().split() == ["0", "20"]
    assert read(cluster.work / "state") == "50"
    out = (cluster.work / f"sim-{job_id}.out").read_text()
    assert out.count("start at") == 2
    assert "done at 50" in out
    assert [run["status"] for run in runs(cluster)] == ["failed", "success"]
    # Such a user has never heard of Cerebras.
    shown = [out, (cluster.run_dir(cluster.work / "csx-restart") / "run.log").read_text()]
    shown += [cluster.run("csx-restart", word, str(job_id)) for word in ("status", "explain")]
    for text in shown:
        assert not re.search(r"num_csx|Cerebras|CSX system|trainer|phase", text, re.IGNORECASE), (
            text
        )


def starts(cluster: ManagedCluster) -> list[str]:
    return read(cluster.work / "starts").split()


def lose(cluster: ManagedCluster, node: str) -> None:
    """Kill a node's slurmd, and have slurmctld notice it before SlurmdTimeout."""
    cluster.fault("kill-slurmd", node)
    cluster.fault("node-down", node)


@pytest.mark.core
def test_a_script_whose_node_is_lost_goes_on_elsewhere(cluster: ManagedCluster) -> None:
    job_id = submit_script(cluster, "50")
    await_state(cluster, 20)
    [gone] = cluster.nodes_of(job_id)
    lose(cluster, gone)
    await_(lambda: cluster.ends(job_id), "the first end")
    (cluster.work / "go").touch()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert read(cluster.work / "state") == "50"
    assert len(starts(cluster)) == 2
    assert cluster.nodes_of(job_id) != [gone]
    assert cluster.excluded(job_id) == {gone}
    [end, last] = cluster.ends(job_id)
    assert (end["category"], end["action"]) == ("hardware.node", "adjust")
    assert last["action"] == "leave"


def test_a_script_at_its_time_limit_goes_on(cluster: ManagedCluster) -> None:
    job_id = submit_script(cluster, "50")
    await_state(cluster, 20)
    cluster.warn_of_time_limit(job_id)
    cluster.await_requeue_and_lift_limit(job_id)
    (cluster.work / "go").touch()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert starts(cluster) == ["0", "20"]
    assert cluster.ends(job_id)[0]["category"] == "timeout"


def test_a_command_is_restarted(cluster: ManagedCluster) -> None:
    command = "echo try >> tries; test $(wc -l < tries) -gt 2 || kill -9 $$"
    job_id = int(cluster.run("csx-sbatch", "--parsable", "-n1", "--wrap", command))
    assert cluster.await_end(job_id) == "COMPLETED"
    assert read(cluster.work / "tries").split() == ["try"] * 3
    assert cluster.job(job_id)["JobName"] == "wrap"


def test_a_script_that_always_fails_ends_after_its_restarts(cluster: ManagedCluster) -> None:
    text = "#!/bin/sh\n#CSX --max-restarts=2\necho x >> tries\nexit 3\n"
    job_id = submit_script(cluster, text=text, options=())
    assert cluster.await_end(job_id) == "FAILED"
    assert cluster.job(job_id)["ExitCode"] == "3:0"
    assert len(read(cluster.work / "tries").split()) == 3
    assert [end["action"] for end in cluster.ends(job_id)] == ["requeue", "requeue", "leave"]


def test_a_job_that_must_not_be_requeued_fails_once(cluster: ManagedCluster) -> None:
    text = "#!/bin/sh\n#SBATCH --no-requeue\necho x >> tries\nexit 3\n"
    job_id = submit_script(cluster, text=text)
    assert cluster.await_end(job_id) == "FAILED"
    assert read(cluster.work / "tries") == "x"
    assert cluster.ends(job_id) == []
    assert [run["status"] for run in runs(cluster)] == ["failed"]


# Each attempt writes three checkpoints and is killed before the next.
CHECKPOINTS = """\
#!/bin/bash
#SBATCH -n1 -o out.txt
#CSX --max-restarts=1 --checkpoint='ck/step-{step}.txt'
mkdir -p ck
echo "$CSX_RESTART_ATTEMPT $CSX_RESTART_STEP ${CSX_RESTART_CHECKPOINT##*/}" >> starts
echo "$CSX_RESTART_RUN_ID" >> ids
step=$CSX_RESTART_STEP
while [ $step -lt 100 ]; do
    step=$((step + 10))
    echo $step > ck/new && mv ck/new ck/step-$step.txt
    sleep 0.2
    [ $((step % 30)) -ne 0 ] || { until [ -e go-$step ]; do sleep 0.05; done; kill -9 $$; }
done
"""


def test_a_script_gets_its_newest_checkpoint(cluster: ManagedCluster) -> None:
    job_id = submit_script(cluster, text=CHECKPOINTS, options=())
    for step in (30, 60, 90):
        seen = f"checkpoint at step {step}: step-{step}.txt"
        await_(lambda seen=seen: seen in run_log(cluster), seen)
        (cluster.work / f"go-{step}").touch()
    # Three kills with one allowed in a row, as each attempt has made progress.
    assert cluster.await_end(job_id) == "COMPLETED"
    lines = (cluster.work / "starts").read_text().splitlines()
    assert lines == ["0 0 ", "1 30 step-30.txt", "2 60 step-60.txt", "3 90 step-90.txt"]
    assert len(set(read(cluster.work / "ids").split())) == 1
    assert [end["progress"] for end in cluster.ends(job_id)[:3]] == [True] * 3
    # Who submits again wants to go on.
    again = cluster.run("sh", "-c", "csx-sbatch --print job.sh 2>&1")
    assert "step-100.txt is there already" in again


def run_log(cluster: ManagedCluster) -> str:
    return read(cluster.run_dir(cluster.work / "csx-restart") / "run.log")


def test_a_script_with_fewer_nodes(cluster: ManagedCluster) -> None:
    text = JOB.replace("--nodes=1 ", "--nodes=3 ").replace(
        "#SBATCH --ntasks=1\n", "#CSX --min-nodes=2\n"
    )
    text = text.replace('echo "$state" >> starts', 'echo "$SLURM_JOB_NUM_NODES" >> starts')
    job_id = submit_script(cluster, "50", text=text)
    await_state(cluster, 20)
    lose(cluster, cluster.nodes_of(job_id)[2])
    await_(lambda: cluster.ends(job_id), "the first end")
    (cluster.work / "go").touch()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert starts(cluster) == ["3", "2"]


ARRAY = """\
#!/bin/bash
#SBATCH --array=1-4 -n1 --output=out-%a.txt
task=$SLURM_ARRAY_TASK_ID
if [ -n "$CSX_RESTART_CHECKPOINT" ]; then
    echo "$task $CSX_RESTART_CHECKPOINT" >> resumed
    exit 0
fi
echo "$task $CSX_RESTART_RUN_ID $CSX_RESTART_RUN_DIR" >> ran
mkdir "t$task"
echo > "t$task/step-$task.txt"
exit 1
"""


def test_each_task_of_an_array_is_a_run_of_its_own(cluster: ManagedCluster) -> None:
    submit_script(cluster, text=ARRAY, options=("--checkpoint=t%a/step-{step}.txt",))
    await_(lambda: len(read(cluster.work / "resumed").splitlines()) == 4, "four tasks")
    for line in read(cluster.work / "resumed").splitlines():
        task, checkpoint = line.split()
        assert checkpoint == str(cluster.work / f"t{task}" / f"step-{task}.txt")
    lines = [line.split() for line in read(cluster.work / "ran").splitlines()]
    array = cluster.run_dir(cluster.work / "csx-restart")
    assert sorted(task for task, _, _ in lines) == ["1", "2", "3", "4"]
    for task, run_id, run_dir in lines:
        assert run_dir == str(array / "tasks" / task)
        assert run_id == run_of_task(RunPlan.load(array / "plan.json").run, int(task))


FAILING_ARRAY = """\
#!/bin/bash
#SBATCH --array=0-19%4 -n1 --output=out-%a.txt
starts=starts-$SLURM_ARRAY_TASK_ID
echo >> "$starts"
case $SLURM_ARRAY_TASK_ID.$(wc -l < "$starts") in
3.1) kill -9 $$ ;;
7.1) exit 3 ;;
19.*) exit 4 ;;
esac
"""


def test_three_failing_tasks_of_an_array_are_restarted_alone(cluster: ManagedCluster) -> None:
    array = submit_script(cluster, text=FAILING_ARRAY, options=("--max-restarts", "1"))
    ask = ("squeue", "-h", "-a", "-r", "-t", "all", "-j", str(array), "-o", "%K %A %T")
    starts = {task: 2 if task in (3, 7, 19) else 1 for task in range(20)}

    def shown() -> dict[int, tuple[int, str]]:
        rows = (line.split() for line in cluster.run(*ask).splitlines())
        return {int(task): (int(job_id), state) for task, job_id, state in rows}

    def started() -> dict[int, int]:
        texts = {task: cluster.work / f"starts-{task}" for task in range(20)}
        return {task: path.read_text().count("\n") for task, path in texts.items() if path.exists()}

    def ended() -> bool:
        cluster.reconcile()
        states = {task: state for task, (_, state) in shown().items()}
        return states == dict.fromkeys(range(20), "COMPLETED") | {19: "FAILED"}

    await_(ended, "the end of all tasks", interval=1)
    assert started() == starts
    jobs = shown()
    assert {task: len(cluster.ends(jobs[task][0])) for task in starts} == starts
    status = cluster.run("csx-restart", "status", f"{array}_19")
    assert "FAILED" in status
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    assert f"{run_dir}/tasks/19" in status
    for target in (str(array), str(run_dir)):
        tasks = json.loads(cluster.run("csx-restart", "status", "--json", target))
        assert {row["task"]: row["restarts"] + 1 for row in tasks} == starts
        assert {row["task"]: row["job_id"] for row in tasks} == {t: jobs[t][0] for t in starts}
        assert tasks[3]["last_end"] == "completed"
        assert (tasks[19]["state"], tasks[19]["attempt"]) == ("FAILED", 1)
        assert "(exit code 4)" in tasks[19]["last_end"]


def test_the_streams_of_a_script_are_those_of_its_options(cluster: ManagedCluster) -> None:
    (cluster.work / "in.txt").write_text("from the file\n")
    text = (
        "#!/bin/sh\n#SBATCH -n1 --output=o.txt --error=e.txt --input=in.txt\n"
        "cat\necho to the errors >&2\n"
    )
    job_id = submit_script(cluster, text=text)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert read(cluster.work / "o.txt") == "from the file"
    assert "to the errors" in read(cluster.work / "e.txt")
