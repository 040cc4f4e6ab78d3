"""csx-sbatch against a real sbatch: what Slurm makes of its options, scripts and chains."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_
from slurm_restart.core.job_comment import parse_comment
from slurm_restart.submit.option import Argument, OptionHandling
from slurm_restart.submit.option_rows import SBATCH
from slurm_restart.trainer.run_plan import RunPlan

ZOO = os.environ.get("CSX_MODELZOO")
"""A checkout of Cerebras/modelzoo, whose configs are tried where there is one."""
INIT = re.compile(r"^( *)init:(?: &init)?[ ]*\n", re.MULTILINE)
AUTORESTART = "autorestart: {max_num_restarts: 3}"

TWO_PHASES = """\
slurm:
  sbatch: {time: 1:00:00, comment: both phases}
  command: "true"
trainer:
- trainer:
    init:
      backend: {backend_type: CPU, cluster_config: {num_csx: 2}}
      model_dir: out
      checkpoint: {steps: 10}
      autorestart: {max_num_restarts: 3}
- trainer:
    init:
      backend: {backend_type: CPU, cluster_config: {num_csx: 3}}
      model_dir: out
      checkpoint: {steps: 10}
      autorestart: {max_num_restarts: 3}
"""
ONE_PHASE = "- trainer:".join(TWO_PHASES.split("- trainer:")[:2])


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4}


def write(cluster: ManagedCluster, text: str) -> str:
    path = cluster.work / "trainer.yaml"
    path.write_text(text)
    return path.name


def csx_sbatch(cluster: ManagedCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run csx-sbatch and return all of its answer, whether it succeeded or not."""
    script = 'csx-sbatch "$@" >out.txt 2>err.txt; echo $? >code.txt'
    cluster.run("sh", "-c", script, "sh", *arguments)
    out, err, code = ((cluster.work / f"{n}.txt").read_text() for n in ("out", "err", "code"))
    return subprocess.CompletedProcess(arguments, int(code), out, err)


def shown(cluster: ManagedCluster, job_id: int) -> str:
    return cluster.run("scontrol", "show", "job", str(job_id))


def test_two_phases_as_slurm_sees_them(cluster: ManagedCluster) -> None:
    config = write(cluster, TWO_PHASES)
    first, second = cluster.csx_sbatch(cluster.work / config, "--hold", "-J", "a b")
    one, two = shown(cluster, first), shown(cluster, second)
    for text, nodes in ((one, 2), (two, 3)):
        for field in (
            f"NumNodes={nodes}-{nodes}",
            "Requeue=1",
            "OverSubscribe=NO",
            "JobName=a b",
            "TimeLimit=01:00:00",
            "MinCPUsNode=1",
        ):
            assert field in text
    assert "Reason=JobHeldUser" in one
    assert f"Dependency=afterok:{first}(unfulfilled)" in two
    assert "Reason=Dependency" in two
    comments = [
        cluster.run("squeue", "-h", "-a", "-j", str(job_id), "-o", "%k").strip()
        for job_id in (first, second)
    ]
    digests = [parse_comment(comment) for comment in comments]
    assert [comment.split(" ", 2)[2] for comment in comments] == ["both phases"] * 2
    assert [
        (comment_record.phase, comment_record.num_nodes, comment_record.min_nodes)
        for comment_record in digests
    ] == [
        (0, 2, 1),
        (1, 3, 1),
    ]
    runs = sorted((cluster.work / "out").iterdir())
    plans = [RunPlan.load(run / "plan.json") for run in runs]
    assert [plan.comment_record for plan in plans] == digests
    assert f"Submitted batch job {second}, phase 2 of 2" in (runs[1] / "run.log").read_text()
    # A first phase that is cancelled takes the second with it.
    cluster.run("scancel", str(first))
    cluster.await_end(second, "CANCELLED")


def test_the_queue_and_the_disk_are_as_before_when_a_phase_is_refused(
    cluster: ManagedCluster,
) -> None:
    config = write(cluster, TWO_PHASES)
    done = csx_sbatch(cluster, "-p", "nope", config)
    assert done.returncode == 4
    assert "csx-sbatch: error: phase 1: sbatch: " in done.stderr
    assert "nvalid partition" in done.stderr
    assert done.stdout == ""
    assert not (cluster.work / "out").exists()
    assert cluster.run("squeue", "-h") == ""


def test_a_test_creates_nothing(cluster: ManagedCluster) -> None:
    config = write(cluster, TWO_PHASES)
    before = sorted(cluster.work.iterdir())
    done = csx_sbatch(cluster, "--test-only", config)
    assert done.returncode == 0
    assert re.findall(r"using (\d+) processors", done.stderr) == ["4", "6"]
    made = {path.name for path in set(cluster.work.iterdir()) - set(before)}
    assert made <= {"out.txt", "err.txt", "code.txt"}
    assert cluster.run("squeue", "-h") == ""


def test_more_nodes_than_there_are_only_wait(cluster: ManagedCluster) -> None:
    config = write(cluster, TWO_PHASES)
    done = csx_sbatch(cluster, "--num-csx=9", "--parsable", config)
    assert done.returncode == 0
    assert "warning: cannot start with today's nodes: phase 1: " in done.stderr
    for job_id in done.stdout.split():
        assert cluster.state(int(job_id)) == "PENDING"


@pytest.mark.parametrize("options", [("-Q",), ("--quiet", "--parsable"), ()])
def test_a_quiet_submission_keeps_its_job(
    cluster: ManagedCluster, options: tuple[str, ...]
) -> None:
    script = cluster.work / "quiet.sh"
    script.write_text("#!/bin/sh\n#SBATCH --quiet --hold -n1\ntrue\n")
    done = csx_sbatch(cluster, *options, script.name)
    (job_id,) = cluster.run("squeue", "-h", "-o", "%A").split()
    told = f"{job_id}\n" if "--parsable" in options else ""
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")
    (run,) = (cluster.work / "csx-restart").iterdir()
    assert f"Submitted batch job {job_id}, " in (run / "run.log").read_text()


def test_a_job_is_found_again_whose_id_a_wrapper_keeps_to_itself(cluster: ManagedCluster) -> None:
    programs = cluster.work / "programs"
    programs.mkdir()
    for name in ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun"):
        place = cluster.run("sh", "-c", f"command -v {name}").strip()
        (programs / name).symlink_to(place)
    real = (programs / "sbatch").readlink()
    (programs / "sbatch").unlink()
    (programs / "sbatch").write_text(f'#!/bin/sh\nexec {real} "$@" >/dev/null\n')
    (programs / "sbatch").chmod(0o755)
    submit = f"PATH={programs}:$PATH csx-sbatch --hold {write(cluster, TWO_PHASES)}"
    told = cluster.run("sh", "-c", submit)
    jobs = sorted(cluster.run("squeue", "-h", "-o", "%A").split(), key=int)
    assert told == "".join(f"Submitted batch job {job_id}\n" for job_id in jobs)
    assert len(jobs) == 2
    assert len(list((cluster.work / "out").iterdir())) == 2


NASTY = 'it\'s a $(touch pwned) `touch pwned`\n#SBATCH --array=1-9\r\nü "x" ; touch pwned'


@pytest.mark.parametrize(
    ("limit", "option"), [("MaxTime=10", "--time=60"), ("MaxNodes=1", "--time=5")]
)
def test_a_job_that_waits_on_a_limit_of_its_partition_is_warned_of(
    cluster: ManagedCluster, limit: str, option: str
) -> None:
    name = write(cluster, ONE_PHASE)
    partition = cluster.run("sinfo", "-h", "-o", "%R").strip()
    cluster.run("scontrol", "update", f"PartitionName={partition}", limit, as_root=True)
    try:
        done = csx_sbatch(cluster, option, name)
    finally:
        unlimited = ["MaxTime=UNLIMITED", "MaxNodes=UNLIMITED"]
        cluster.run("scontrol", "update", f"PartitionName={partition}", *unlimited, as_root=True)
    job_id = done.stdout.split()[-1]
    cluster.run("scancel", job_id)
    assert done.returncode == 0, done.stderr
    assert f"warning: job {job_id} waits (Partition" in done.stderr
    assert "never starts" in done.stderr


def test_a_nasty_model_dir_reaches_the_trainer_whole(cluster: ManagedCluster) -> None:
    text = ONE_PHASE.replace("model_dir: out", f"model_dir: {json.dumps(NASTY)}")
    text = text.replace('command: "true"', "command: printf '%s\\0' {model_dir} {run_dir}")
    config = write(cluster, text)
    output = cluster.work / "output"
    (job_id,) = cluster.csx_sbatch(cluster.work / config, "-o", str(output))
    assert cluster.await_end(job_id) == "COMPLETED"
    (run_dir,) = (cluster.work / NASTY).glob("*_restartable")
    printed = (run_dir / "attempts" / "0" / "output.log").read_bytes()
    assert printed == b"".join(os.fsencode(path) + b"\0" for path in (run_dir.parent, run_dir))
    assert not list(cluster.work.rglob("pwned"))
    assert "ArrayJobId" not in shown(cluster, job_id)


def test_the_job_starts_whatever_the_environment(cluster: ManagedCluster) -> None:
    (cluster.work / "json.py").write_text("raise SystemExit('led astray')\n")
    hostile = {
        "PYTHONPATH": str(cluster.work),
        "PYTHONSTARTUP": str(cluster.work / "json.py"),
        "VIRTUAL_ENV": "/nonexistent",
    }
    setup = "  setup: [cd /, export PATH=, export PYTHONHOME=/nonexistent]\n"
    config = write(cluster, ONE_PHASE.replace("trainer:\n- ", f"{setup}trainer:\n- "))
    before = dict(cluster.environment)
    try:
        # csx-sbatch is a Python program too, so the variables are for the job alone.
        exports = ",".join(f"{name}={value}" for name, value in hostile.items())
        (job_id,) = cluster.csx_sbatch(cluster.work / config, f"--export=ALL,{exports}")
    finally:
        cluster.environment = before
    assert cluster.await_end(job_id) == "COMPLETED"


def test_a_config_without_autorestart_runs_without_restarting(cluster: ManagedCluster) -> None:
    text = TWO_PHASES.replace("      autorestart: {max_num_restarts: 3}\n", "")
    config = write(cluster, text.replace('command: "true"', 'command: "false"'))
    done = csx_sbatch(cluster, "--no-requeue", config)
    assert done.returncode == 0
    assert done.stderr.count("submitted without restarting") == 2
    first, second = (int(job_id) for job_id in re.findall(r"batch job (\d+)", done.stdout))
    assert cluster.await_end(first) == "FAILED"
    # Nothing manages the second phase either: Slurm leaves it for its owner to cancel.
    lost = "Reason=DependencyNeverSatisfied"
    await_(lambda: lost in cluster.run("scontrol", "show", "job", str(second)), lost)
    cluster.run("scancel", str(second))
    assert cluster.journal(first) == []
    assert cluster.run("squeue", "-h", "-a", "-t", "all", "-j", str(first), "-o", "%k").strip() == (
        "both phases"
    )


# One value of each option that a cluster without special hardware takes.
VALUES = {
    "acctg-freq": "30",
    "begin": "now+1hour",
    "chdir": "/tmp",
    "comment": "mine",
    "cores-per-socket": "1",
    "cpu-freq": "high",
    "cpus-per-task": "1",
    "deadline": "now+2hours",
    "delay-boot": "1",
    "dependency": "singleton",
    "distribution": "cyclic",
    "error": "/dev/null",
    "exclude": "csx4",
    "export": "NONE",
    "hint": "nomultithread",
    "input": "/dev/null",
    "job-name": "x",
    "kill-on-invalid-dep": "yes",
    "mail-type": "NONE",
    "mail-user": "nobody",
    "mem-bind": "none",
    "mincpus": "1",
    "nice": "5",
    "no-kill": "off",
    "nodes": "2",
    "open-mode": "append",
    "output": "/dev/null",
    "partition": "main",
    "signal": "B:USR1@300",
    "sockets-per-node": "1",
    "switches": "1",
    "threads-per-core": "1",
    "time": "10",
    "time-min": "5",
    "wait-all-nodes": "1",
    "wckey": "x",
}
FLAGS = ("contiguous", "exclusive", "get-user-env", "hold", "ignore-pbs", "overcommit", "propagate",
         "quiet", "requeue", "spread-job", "use-min-nodes", "verbose")  # fmt: skip


@pytest.mark.parametrize("name", [*VALUES, *FLAGS])
def test_sbatch_takes_what_the_table_passes(cluster: ManagedCluster, name: str) -> None:
    option = next(option for option in SBATCH if option.name == name)
    assert option.handling in {
        OptionHandling.PASSED,
        OptionHandling.MERGED,
        OptionHandling.PASSED_IF_FIXED_SIZE,
    }
    assert option.argument is not Argument.NONE or name in FLAGS
    fixed = ONE_PHASE.replace("max_num_restarts: 3", "max_num_restarts: 3, min_num_csx: 2")
    config = write(cluster, fixed)
    argument = f"--{name}={VALUES[name]}" if name in VALUES else f"--{name}"
    done = csx_sbatch(cluster, "--test-only", argument, config)
    assert done.returncode == 0, done.stderr


def zoo_configs() -> list[Path]:
    return sorted(Path(ZOO).rglob("models/**/configs/**/*.yaml")) if ZOO else []


@pytest.mark.skipif(not ZOO, reason="CSX_MODELZOO names no checkout of Cerebras/modelzoo")
def test_the_model_zoos_configs(cluster: ManagedCluster) -> None:
    taken, legacy, wrong = 0, 0, []
    for path in zoo_configs():
        text = path.read_text()
        changed = INIT.sub(rf"\g<0>\1  {AUTORESTART}\n", text)
        done = csx_sbatch(cluster, "--test-only", "--num-csx=2", write(cluster, changed))
        if done.returncode == 0 and AUTORESTART in changed:
            taken += 1
        elif "legacy form" in done.stderr:
            legacy += 1
        else:
            wrong.append((path.name, done.stderr))
    assert wrong == []
    assert taken > 100
    assert legacy <= 1
    assert not (cluster.work / "model_dir").exists()
