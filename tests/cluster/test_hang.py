"""Runs that hang: found, their stacks kept, ended and restarted; and one that is only slow."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

STEPS, EVERY = 40, 10


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    # Time for what saves on TERM, also on a busy machine.
    return {"nodes": 4, "options": ("--set", "KillWait=30")}


def ranks(cluster: ManagedCluster, job_id: int) -> dict[int, int]:
    """The process ids of the ranks of the example trainer, by rank."""
    return {
        int(process.environment["SLURM_PROCID"]): process.pid
        for process in job_processes(cluster, job_id)
        if process.is_rank and process.program == "cszoo"
    }


def test_a_stopped_rank_is_found_and_the_run_goes_on_elsewhere(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@25/restart=0")
    config = cluster.config(steps=STEPS, every=EVERY, nodes=3, min_nodes=2)
    # A busy machine may take some seconds until the rank is stopped: that alone is no hang.
    thresholds = r"floor=15s,start_floor=2min,busy_factor=3,steps=Step=(\d+)"
    [job_id] = cluster.csx_sbatch(config, f"--watchdog={thresholds}")
    cluster.await_step(20)
    node = cluster.nodes_of(job_id)[2]
    await_(lambda: len(ranks(cluster, job_id)) == 3, "three ranks")
    os.kill(ranks(cluster, job_id)[2], signal.SIGSTOP)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    run_dir = cluster.run_dir()
    end = json.loads((run_dir / "attempts/0/end.json").read_text())
    assert (end["category"], end["blamed_nodes"]) == ("hang", [node])
    assert end["stuck"][0].startswith("rank 2, process ")
    assert f"on {node}: stopped by a signal (T), in " in end["stuck"][0]
    stacks = (run_dir / "attempts/0/hang/stacks.txt").read_text()
    # All three ranks, on all nodes.
    assert stacks.count("Python v3") >= 3
    [first, last] = cluster.ends(job_id)
    assert (first["category"], last["category"]) == ("hang", "completed")
    assert cluster.excluded(job_id) == {node}
    starts = [run["starting_step"] for run in cluster.summary()["runs"]]
    assert starts == [0, 20]


# Rank 0 waits busily for rank 1, as communication libraries do. No pattern finds its steps.
BUSY = """\
import os, socket, time
rank, first = int(os.environ["SLURM_PROCID"]), 1
name, run_dir = "checkpoint-{}.txt", os.environ["CSX_RESTART_RUN_DIR"]
begun = lambda one, step: f"{run_dir}/begun-{first}-{one}-{step}"
if path := os.environ.get("CSX_RESTART_CHECKPOINT"):
    first = int(path.rpartition("-")[2].partition(".")[0]) + 1
for step in range(first, first + 8):
    if rank == 1 and (first, step) == (1, 4):  # after three checkpoints in a second
        with open("pid", "w") as stream:
            stream.write(str(os.getpid()))
        os.kill(os.getpid(), 19)
    time.sleep(0.3)
    open(begun(rank, step), "w").close()
    while not os.path.exists(begun(1 - rank, step)):
        pass
    if rank == 0:
        with open("part", "w") as stream:
            stream.write("x")
        os.rename("part", name.format(step))
"""
BUSY_SCRIPT = """\
#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --requeue
#CSX --checkpoint=checkpoint-{step}.txt
#CSX --watchdog='floor=6s,start_floor=1min,busy_factor=2'
srun python3 program.py
"""


def test_a_stopped_rank_whose_peer_waits_busily_is_found_also_where_no_steps_are_known(
    cluster: ManagedCluster,
) -> None:
    (cluster.work / "program.py").write_text(BUSY)
    (cluster.work / "job.sh").write_text(BUSY_SCRIPT)
    job_id = int(cluster.run("csx-sbatch", "--parsable", "job.sh"))
    assert cluster.await_end(job_id) == "COMPLETED"
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    end = json.loads((run_dir / "attempts/0/end.json").read_text())
    assert (end["category"], end["rule"]) == ("hang", "supervisor.hung")
    pid = (cluster.work / "pid").read_text()
    [node] = end["blamed_nodes"]
    stopped = f"rank 1, process {pid} (python3), on {node}: stopped by a signal (T)"
    assert end["stuck"][0].startswith(stopped)
    assert "<module> (program.py" in (run_dir / "attempts/0/hang/stacks.txt").read_text()
    # It has gone on from the last checkpoint.
    assert (run_dir / "begun-4-1-4").exists()


PROGRAM = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def train(first, last, pause):
    for step in range(first, last):
        print("step", step, flush=True)
        time.sleep(pause)
train(0, 100, 0.05)
if os.environ["CSX_RESTART_ATTEMPT"] == "0":
    while True:
        pass
warnings, step = os.environ["CSX_RESTART_RUN_DIR"] + "/attempts/1/warnings.jsonl", 100
while not (os.path.exists(warnings) and "slowdown: " in open(warnings).read()):
    train(step, step + 1, 1.0)
    step += 1
"""
SCRIPT = """\
#!/bin/bash
#SBATCH --ntasks=1
#CSX --watchdog='floor=10s,busy_factor=2,slow_after=4s,steps=step (\\d+)'
srun python3 program.py
"""


def test_a_rank_that_spins_and_ignores_term_is_ended_and_a_slow_one_is_not(
    cluster: ManagedCluster,
) -> None:
    (cluster.work / "program.py").write_text(PROGRAM)
    (cluster.work / "job.sh").write_text(SCRIPT)
    job_id = int(cluster.run("csx-sbatch", "--parsable", "--recovery=auto", "job.sh"))
    assert cluster.await_end(job_id) == "COMPLETED"
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    end = json.loads((run_dir / "attempts/0/end.json").read_text())
    assert end["category"] == "hang"
    assert "no new step and no checkpoint for" in end["reason"]
    assert "<module> (program.py" in (run_dir / "attempts/0/hang/stacks.txt").read_text()
    # No node is to blame: it goes on in its allocation.
    assert "decision: relaunch (hang: " in (run_dir / "run.log").read_text()
    assert [one["category"] for one in cluster.ends(job_id)] == ["completed"]
    # It ends once the slowdown is reported.
    assert "slowdown: a step takes" in (run_dir / "attempts/1/warnings.jsonl").read_text()
    assert "slowdown: a step takes" in cluster.run("csx-restart", "status", str(job_id))


# Rank 0 hangs in a call that Python waits for, rank 1 is stopped, and rank 2 saves on TERM.
MIXED = """\
import os, resource, signal, sys, time
rank = int(os.environ["SLURM_PROCID"])
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
def save(step):
    with open(f"part-{step}", "w") as stream:
        stream.write("x")
    os.rename(f"part-{step}", f"step-{step}.txt")
def saves_on_term(*_):
    save(50)
    sys.exit(0)
def opens_a_pipe():
    os.open("pipe", os.O_RDONLY)
def stops():
    os.kill(os.getpid(), signal.SIGSTOP)
def trains():
    signal.signal(signal.SIGTERM, saves_on_term)
    while True:
        time.sleep(0.1)
if os.environ["CSX_RESTART_ATTEMPT"] == "1":
    print("goes on from", os.environ["CSX_RESTART_CHECKPOINT"], flush=True)
    sys.exit(0)
if rank == 0:
    for step in range(41):
        print("step", step, flush=True)
        time.sleep(0.05)
    save(40)
[opens_a_pipe, stops, trains][rank]()
"""
MIXED_SCRIPT = """\
#!/bin/bash
#SBATCH --nodes=3 --ntasks-per-node=1 --requeue
#CSX --checkpoint=step-{step}.txt
#CSX --watchdog='floor=10s,start_floor=1min,steps=step (\\d+)'
srun {python} program.py
"""


def without_py_spy(folder: Path) -> Path:
    """Return an interpreter in this folder whose processes py-spy may not read."""
    (folder / "bin").mkdir()
    python = folder / "bin/python3"
    python.symlink_to(Path(sys.executable).resolve())
    refused = folder / "bin/py-spy"
    refused.write_text("#!/bin/sh\necho 'Permission denied' >&2\nexit 1\n")
    refused.chmod(0o755)
    return python


def test_without_py_spy_ranks_print_their_stacks_and_one_that_saves_on_term_saves(
    cluster: ManagedCluster,
) -> None:
    python = without_py_spy(cluster.work)
    os.mkfifo(cluster.work / "pipe")
    (cluster.work / "program.py").write_text(MIXED)
    (cluster.work / "job.sh").write_text(MIXED_SCRIPT.replace("{python}", str(python)))
    job_id = int(cluster.run("csx-sbatch", "--parsable", "job.sh"))
    assert cluster.await_end(job_id) == "COMPLETED"
    attempt = cluster.run_dir(cluster.work / "csx-restart") / "attempts/0"
    end = json.loads((attempt / "end.json").read_text())
    assert (end["category"], end["rule"]) == ("hang", "supervisor.hung")
    assert [one["category"] for one in cluster.ends(job_id)] == ["hang", "completed"]
    ranks = (attempt / "hang/stacks.txt").read_text().split("\nrank ")[1:]
    opens, stops, trains = sorted(ranks)
    assert ", in opens_a_pipe (program.py:" in opens
    assert "in opens_a_pipe\n" in opens
    assert "stopped by a signal (T), in stops (program.py:" in stops
    assert "in stops\n" in stops
    assert "no stack: py-spy: Permission denied" in trains
    assert any("in stops (program.py:" in line for line in end["stuck"])
    # What was saved on TERM is what the run goes on from, and nobody wrote a core file.
    assert "step-50.txt" in (attempt.parent / "1/output.log").read_text()
    assert not list(cluster.work.glob("core*"))


# The last rank is stopped, and each fails as soon as a peer of its is gone.
JOINED = """\
import os, signal, socket, sys, time
rank, ranks = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
if os.environ["CSX_RESTART_ATTEMPT"] == "1":
    sys.exit(0)
def receive(peer):
    if not peer.recv(1):
        raise ConnectionError("peer went away")
def leads():
    server = socket.create_server(("127.0.0.1", 0))
    with open("port.part", "w") as stream:
        stream.write(str(server.getsockname()[1]))
    os.rename("port.part", "port")
    peers = [server.accept()[0] for _ in range(ranks - 1)]
    for step in range(100):
        print("step", step, flush=True)
        time.sleep(0.05)
        for peer in peers:
            receive(peer)
        for peer in peers:
            peer.send(b"x")
def follows():
    while not os.path.exists("port"):
        time.sleep(0.05)
    peer = socket.create_connection(("127.0.0.1", int(open("port").read())))
    for step in range(100):
        if step == 40 and rank == ranks - 1:
            stops()
        peer.send(b"x")
        receive(peer)
def stops():
    os.kill(os.getpid(), signal.SIGSTOP)
follows() if rank else leads()
"""
JOINED_SCRIPT = """\
#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=2 --requeue
#CSX --watchdog='floor=10s,start_floor=1min,steps=step (\\d+)'
srun --kill-on-bad-exit --label {python} program.py
"""


def test_no_rank_notices_the_end_of_another_and_srun_kills_none_before_the_stacks(
    cluster: ManagedCluster,
) -> None:
    python = without_py_spy(cluster.work)
    (cluster.work / "program.py").write_text(JOINED)
    (cluster.work / "job.sh").write_text(JOINED_SCRIPT.replace("{python}", str(python)))
    job_id = int(cluster.run("csx-sbatch", "--parsable", "job.sh"))
    assert cluster.await_end(job_id) == "COMPLETED"
    attempt = cluster.run_dir(cluster.work / "csx-restart") / "attempts/0"
    assert json.loads((attempt / "end.json").read_text())["rule"] == "supervisor.hung"
    stacks = (attempt / "hang/stacks.txt").read_text()
    where = ["leads", "follows", "follows", "stops"]
    for stack, function in zip(sorted(stacks.split("\nrank ")[1:]), where, strict=True):
        assert stack.count("Current thread 0x") == 1, stacks
        assert f"in {function}\n" in stack, stacks
    assert "peer went away" not in (attempt / "output.log").read_text()
