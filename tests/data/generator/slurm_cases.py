"""Cases of jobs on a cluster: Slurm's own ends, and ranks that it starts with labels."""

from typing import Any

from contrib.testing.dev_cluster import DevCluster
from tests.data.generator.case import Case, OnCluster

LONG = "srun --label python -u crash.py long"
TORCH = (
    "export MASTER_ADDR=127.0.0.1 MASTER_PORT=$((27000 + SLURM_JOB_ID))\n"
    "srun --label {options}python ranks.py {what}"
)


def node(number: int) -> Any:
    """What breaks a node of a job, by its place among the job's nodes."""

    def act(fault: str, *arguments: str) -> Any:
        def do(cluster: DevCluster, job_id: int) -> None:
            names = cluster.run("squeue", "-h", "-j", str(job_id), "-o", "%N").strip()
            hosts = cluster.run("scontrol", "show", "hostnames", names).split()
            cluster.fault(fault, hosts[number], *arguments)

        return do

    return act


def command(*words: str) -> Any:
    """A command as root, with the job's number at its end."""

    def do(cluster: DevCluster, job_id: int) -> None:
        cluster.run(*words, str(job_id), as_root=True)

    return do


def preempt(cluster: DevCluster, job_id: int) -> None:
    """Let a job of higher priority take the nodes."""
    names = cluster.run("squeue", "-h", "-j", str(job_id), "-o", "%N").strip()
    cluster.submit("true", "--partition=high", f"--nodelist={names}")


def slurm(name: str, category: str, script: str, root: str | None, **more: Any) -> Case:
    """A job."""
    how = {key: more.pop(key) for key in ("options", "act", "ready", "kind") if key in more}
    how["options"] = ("--no-requeue", *how.get("options", ("--nodes=1",)))
    return Case(f"slurm.{name}", category, script, root, cluster=OnCluster(**how), **more)


def torch(name: str, category: str, what: str, root: str | None, **more: Any) -> Case:
    """A job of several ranks over gloo."""
    more.setdefault("options", ("--nodes=2", "--ntasks-per-node=1"))
    script = TORCH.format(what=what, options=more.pop("srun", ""))
    before = more.pop("before", "")
    return slurm(name, category, before + script, root, needs=("torch",), **more)


ENDED_BY_SLURM = (
    slurm(
        "time_limit",
        "timeout",
        f"{LONG} 200",
        "DUE TO TIME LIMIT",
        also=("preemption",),
        also_root="DUE TO TIME LIMIT",
        options=("--nodes=1", "--time=1"),
        state="TIMEOUT",
    ),
    slurm(
        "warning_signal",
        "timeout",
        f"{LONG} 200",
        "User defined signal 1",
        also_root="User defined signal 1",
        also=("preemption", "unknown"),
        options=("--nodes=2", "--time=1", "--signal=USR1@45"),
    ),
    slurm(
        "scancel",
        "cancelled",
        LONG,
        r"JOB \d+ ON \S+ CANCELLED AT",
        also_root=r"STEP \S+ ON \S+ CANCELLED AT",
        act=command("scancel"),
        state="CANCELLED",
    ),
    slurm(
        "requeue",
        "preemption",
        LONG,
        "DUE TO JOB REQUEUE",
        also=("requeued",),
        also_root="DUE TO JOB REQUEUE",
        options=("--nodes=1", "--requeue"),
        act=command("scontrol", "requeue"),
        state="REQUEUED",
    ),
    slurm(
        "preempted",
        "preemption",
        LONG,
        "DUE TO PREEMPTION",
        also_root="DUE TO PREEMPTION",
        act=preempt,
        state="PREEMPTED",
    ),
    slurm(
        "step_cancelled",
        "unknown",
        LONG,
        None,
        also=("cancelled", "preemption"),
        act=lambda cluster, job_id: cluster.run("scancel", f"{job_id}.0"),
    ),
    slurm(
        "terminated",
        "unknown",
        LONG,
        ": Terminated",
        also_root=r": Terminated|STEP \S+ ON \S+ CANCELLED",
        also=("preemption",),
        options=("--nodes=2",),
        act=command("scancel", "--signal=TERM"),
    ),
    slurm(
        "node_gone",
        "hardware.node",
        LONG,
        "Node failure on csx4",
        also_root="DUE TO NODE FAILURE",
        blame=("csx4",),
        options=("--nodelist=csx[3-4]",),
        act=node(1)("kill-slurmd"),
        state="NODE_FAIL",
    ),
    slurm(
        "node_down",
        "hardware.node",
        LONG,
        "Node failure on csx6",
        also_root="DUE TO NODE FAILURE",
        blame=("csx6",),
        options=("--nodelist=csx[5-6]",),
        act=node(1)("node-down"),
        state="NODE_FAIL",
    ),
    slurm(
        "slurmd_killed",
        "hardware.node",
        LONG,
        "Node failure on csx8",
        also_root="DUE TO NODE FAILURE",
        blame=("csx8",),
        options=("--nodelist=csx[7-8]",),
        act=node(1)("kill-slurmd-only"),
        state="NODE_FAIL",
    ),
    slurm(
        "batch_host_gone",
        "hardware.node",
        LONG,
        None,
        act=node(0)("kill-slurmd"),
        state="NODE_FAIL",
    ),
    slurm(
        "launch_failed",
        "hardware.node",
        "echo waiting\nsleep 2\nsrun --label python crash.py long",
        "Task launch for .* failed on node csx10",
        blame=("csx10",),
        options=("--nodelist=csx[9-10]",),
        ready="waiting",
        act=node(1)("kill-slurmd-only"),
    ),
)

FAILED_STEPS = (
    slurm(
        "missing_program",
        "config",
        "srun trainer-2.1 --config gpt3.yaml",
        r"execve\(\): trainer-2.1",
        also=("code",),
    ),
    slurm(
        "missing_script",
        "config",
        "srun --label python train_gpt.py",
        "can't open file",
        also=("code",),
        options=("--nodes=2",),
    ),
    slurm(
        "step_too_big",
        "config",
        "srun --label --ntasks=640 python crash.py long",
        "More processors requested than permitted",
    ),
    slurm(
        "exit_code",
        "unknown",
        "srun --label python crash.py silent_exit 7",
        "Exited with exit code 7",
        options=("--nodes=2",),
    ),
    slurm(
        "rank_killed",
        "unknown",
        LONG,
        ": Killed",
        also=("oom_host",),
        options=("--nodes=2",),
        act=node(1)("kill-step"),
    ),
    slurm(
        "segfault",
        "software.crash",
        "srun --label bash -c 'test $SLURM_PROCID = 0 || exec python -u crash.py segfault\n"
        "sleep 9'",
        ": Segmentation fault",
        options=("--nodes=2",),
    ),
    slurm(
        "abort",
        "software.crash",
        "srun --label python crash.py bad_free",
        r"double free|free\(\)",
        also_root=": Aborted",
    ),
    slurm(
        "second_step_succeeds",
        "completed",
        "srun --label python crash.py silent_exit 1 ||\n"
        "srun --label python crash.py caught_traceback",
        None,
    ),
    slurm(
        "out_of_memory_step",
        "oom_host",
        "srun --label python files.py memory_eaten",
        "oom-kill event|Out Of Memory",
        also_root="oom-kill event|Out Of Memory",
        options=("--mem=300",),
        kind="memory",
    ),
    slurm(
        "out_of_memory_batch",
        "oom_host",
        "python files.py memory_eaten",
        "oom-kill event|Out Of Memory",
        also_root="oom-kill event|Out Of Memory| Killed ",
        options=("--mem=300",),
        kind="memory",
        state="OUT_OF_MEMORY",
    ),
)

RANKS = (
    torch("torch_bug", "code", "bug", "AttributeError: 'dict' object"),
    torch(
        "torch_bug_everywhere",
        "code",
        "bug_everywhere",
        "mat1 and mat2 shapes cannot",
        options=("--nodes=2", "--ntasks-per-node=2"),
    ),
    torch("torch_chained", "storage.full", "chained", r"OSError: \[Errno 28\]"),
    torch(
        "torch_bad_index", "data.corrupt", "bad_index", "IndexError: index", options=("--nodes=3",)
    ),
    torch("torch_nan", "numeric.nan", "not_a_number", "FloatingPointError: rank"),
    torch(
        "torch_segfault",
        "software.crash",
        "segfault",
        ": Segmentation fault",
        also_root=": Segmentation fault",
        srun="--kill-on-bad-exit=1 ",
    ),
    torch(
        "torch_killed",
        "unknown",
        "die SIGKILL",
        ": Killed",
        also=("oom_host",),
    ),
    torch("torch_stall", "hang", "stall", "Timed out waiting", before="export GLOO_TIMEOUT=3\n"),
    torch(
        "torch_out_of_memory",
        "oom_host",
        "eat_memory",
        "oom-kill event|Out Of Memory",
        also_root="oom-kill event|Out Of Memory",
        options=("--nodes=2", "--mem=700"),
        kind="memory",
    ),
)

CASES = (*ENDED_BY_SLURM, *FAILED_STEPS, *RANKS)
