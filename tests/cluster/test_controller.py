"""The controller misbehaves: killed, frozen, without its hook, its disk or its journal."""

import copy
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from contrib.testing.managed_cluster import FAST, ManagedCluster
from contrib.testing.waiting import DEADLINE, await_

HOOK = {"stale_running_after": 1.0}
STEPS, EVERY, FAILS_AT = 20, 5, 12


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    # Many small jobs may share a node: a storm of ends needs no storm of slurmds.
    options = ("--cpus", "12", "--partition-set", "OverSubscribe=NO")
    return {"nodes": 3, "hook": HOOK, "options": options}


@pytest.fixture(autouse=True)
def _as_installed(cluster: ManagedCluster) -> Iterator[None]:
    """The hook and the settings as installed, after every test."""
    hook, site = cluster.hook.read_text(), cluster.site.read_text()
    flags(cluster)
    yield
    print(cluster.hook_log()[-3000:])  # noqa: T201 - shown where the test has failed
    if not answers(cluster):
        cluster.fault("start-ctld")
    cluster.hook.write_text(hook)
    cluster.hook.chmod(0o755)
    cluster.site.write_text(site)
    shutil.rmtree(flags(cluster))


def flags(cluster: ManagedCluster) -> Path:
    """A directory in which the hook's wrappers and the tests tell each other things."""
    folder = cluster.site_dir / "flags"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    return folder


def answers(cluster: ManagedCluster) -> bool:
    """Whether slurmctld is running."""
    return "is UP" in cluster.run("scontrol", "ping", check=False)


def wrap_hook(cluster: ManagedCluster, text: str) -> None:
    """Put shell lines around the hook, which they call as `real`."""
    real = cluster.hook.with_name("csx-epilog.real")
    if not real.exists():
        real.write_text(cluster.hook.read_text())
        real.chmod(0o755)
    preamble = f"#!/bin/sh\ncd {flags(cluster)}\nreal() {{ {real}; }}\n"
    replacement = cluster.hook.with_name("csx-epilog.new")
    replacement.write_text(f"{preamble}{text}\n")
    replacement.chmod(0o755)
    replacement.replace(cluster.hook)


def kills_slurmctld(cluster: ManagedCluster) -> str:
    """A shell line that kills slurmctld, once."""
    pid_file = cluster.root / "run" / "slurmctld.pid"
    return f"if mkdir killed; then kill -9 $(cat {pid_file}); fi"


def outlives_slurmctld(cluster: ManagedCluster) -> str:
    """Shell lines that let the hook begin once slurmctld is dead.

    Slurm ends the hook's process group together with slurmctld, so it has to have left that before.
    """
    real = cluster.hook.with_name("csx-epilog.real")
    # A shell is not told when a file appears or a process ends.
    waits = f"while grep -q slurmctld /proc/$0/cmdline; do sleep 0.1; done; exec {real}"
    return (
        f"setsid sh -c ': >detached; {waits}' $(cat {cluster.root}/run/slurmctld.pid) & "
        "while [ ! -e detached ]; do sleep 0.1; done"
    )


def await_killed(cluster: ManagedCluster) -> None:
    """Wait until slurmctld is no more."""
    killed = flags(cluster) / "killed"
    await_(lambda: killed.exists() and not answers(cluster), "slurmctld killed")


def stub_scontrol(cluster: ManagedCluster, text: str) -> None:
    """Give the hook a scontrol with shell lines in front of the real one."""
    folder = cluster.site_dir / "stub-bin"
    folder.mkdir(exist_ok=True)
    for program in ("squeue", "sinfo", "scancel"):
        if not (folder / program).exists():
            (folder / program).symlink_to(cluster.bin_dir / program)
    real = cluster.bin_dir / "scontrol"
    stub = folder / "scontrol"
    stub.write_text(f'#!/bin/sh\nflags={flags(cluster)}\n{text}\nexec {real} "$@"\n')
    stub.chmod(0o755)
    settings = cluster.site.read_text()
    cluster.site.write_text(settings.replace(f'"{cluster.bin_dir}"', f'"{folder}"'))


ONCE = "sh -c 'mkdir failed || unset CSX_EXAMPLE_FAIL; exec cszoo fit \"$1\"' run {config}"
"""A trainer that fails in its first attempt, whatever Slurm says of restarts."""


def start(cluster: ManagedCluster, *, command: str = ONCE, fail: str = f"exit:3@{FAILS_AT}") -> int:
    """Submit a run of one node that fails once, after two checkpoints."""
    cluster.trainer_does(*fail.split(";"))
    config = cluster.config(command=command, nodes=1, min_nodes=1, steps=STEPS, every=EVERY)
    [job_id] = cluster.csx_sbatch(config)
    return job_id


def check(
    cluster: ManagedCluster,
    job_id: int,
    *,
    source: str | None,
    action: str = "requeue",
    restarts: tuple[str, ...] = ("1",),
) -> None:
    """One restart from the newest checkpoint, each end judged once, and no node blamed."""
    assert cluster.await_end(job_id) == "COMPLETED"
    ends = cluster.ends(job_id)
    assert [(end["attempt"], end["action"]) for end in ends] == [(0, action), (1, "leave")]
    assert ends[0]["category"] == ("unknown" if action == "requeue" else "requeued")
    assert ends[0]["from_step"] == 0
    assert source in (None, ends[0]["source"])
    assert cluster.excluded(job_id) == set()
    job = cluster.job(job_id)
    assert job["Restarts"] in restarts
    assert (job["ExcNodeList"], job["NumNodes"]) == ("(null)", "1")
    runs = cluster.summary()["runs"]
    assert [run["status"] for run in runs] == ["failed", "success"]
    assert [(run["starting_step"], run["ending_step"]) for run in runs] == [(0, 10), (10, STEPS)]
    log = (cluster.run_dir() / "run.log").read_text()
    assert "[run_1]" in log
    assert "[run_2]" in log
    assert "[run_3]" not in log


@contextmanager
def unsaved(cluster: ManagedCluster) -> Iterator[None]:
    """slurmctld cannot save its state, as in the seconds before it would save it."""
    state = cluster.root / "state"
    state.chmod(0o500)
    try:
        yield
    finally:
        state.chmod(0o700)


def saved(cluster: ManagedCluster, field: str) -> Callable[[], bool]:
    """Whether the state that slurmctld has saved holds that field of the newest run's digest."""
    word = re.compile(rf"run={cluster.summary()['run_id']}[^ ]*;{field}".encode())

    def found() -> bool:
        with suppress(FileNotFoundError):
            return bool(word.search(saved_state(cluster).read_bytes()))
        return False

    return found


def saved_state(cluster: ManagedCluster) -> Path:
    """The jobs as slurmctld has saved them; for a moment, and before the first time, no file."""
    return cluster.root / "state" / "job_state"


# --- slurmctld is killed -------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_before_the_end_is_saved_when_the_word_was(
    cluster: ManagedCluster, when: str
) -> None:
    # The job's own word is saved and its end is not: slurmstepd is frozen in between.
    job_id = start(cluster, fail=f"wait@{FAILS_AT - 1};exit:3@{FAILS_AT}")
    cluster.await_step(EVERY)
    supervisor = cluster.batch_pid(job_id)
    stepd = int(Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(stepd, signal.SIGSTOP)
    cluster.let_go()
    try:
        await_(saved(cluster, "ended=1"), "the word in the saved state")
        kill = kills_slurmctld(cluster)
        wrap_hook(cluster, f"{kill}; real" if when == "before" else f"real; {kill}")
        with unsaved(cluster):
            os.kill(stepd, signal.SIGCONT)
            await_killed(cluster)
    finally:
        with suppress(ProcessLookupError):
            os.kill(stepd, signal.SIGCONT)
    cluster.fault("start-ctld")
    if when == "before":
        assert cluster.state(job_id) == "RUNNING"
    # Slurm may have forgotten a restart that it had counted already. Without a hook before, the
    # sweep judges the end, or the hook that Slurm runs once the nodes have registered anew.
    check(cluster, job_id, source=None if when == "before" else "hook", restarts=("0", "1"))


@pytest.mark.parametrize("hook", ["dies before", "lives on", "dies after"])
def test_killed_before_the_end_and_the_word_are_saved(cluster: ManagedCluster, hook: str) -> None:
    job_id = start(cluster, fail=f"wait@{FAILS_AT - 1};exit:3@{FAILS_AT}")
    cluster.await_running(job_id)
    await_((cluster.run_dir() / "summary.json").exists, "summary.json")
    await_(saved(cluster, "attempt=0"), "the attempt in the saved state")
    kill = kills_slurmctld(cluster)
    lines = {
        "dies before": kill,
        "lives on": f"{outlives_slurmctld(cluster)}; {kill}",
        "dies after": f"real; {kill}",
    }
    wrap_hook(cluster, lines[hook])
    with unsaved(cluster):
        cluster.let_go()
        await_killed(cluster)
    wrap_hook(cluster, "real")
    cluster.fault("start-ctld")
    action = "requeue"
    if hook == "dies before":
        # Nothing tells it from a job that runs. Slurm itself requeues it, but minutes later.
        assert cluster.state(job_id) == "RUNNING"
        for _ in range(3):
            assert cluster.reconcile()["stale_running"] == 0
        cluster.run("scontrol", "requeue", str(job_id), as_root=True)
        action = "adjust"
    check(cluster, job_id, source="hook", action=action, restarts=("0", "1"))


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_after_the_end_is_saved(cluster: ManagedCluster, when: str) -> None:
    # Slurm runs the hook again from the start; what it had done already is done once.
    block = "if mkdir entered; then while [ ! -e go ]; do sleep 0.1; done; fi"
    wrap_hook(cluster, f"{block}; real" if when == "before" else f"real; {block}")
    job_id = start(cluster)
    entered = flags(cluster) / "entered"
    await_(entered.exists, "the hook runs")
    since = entered.stat().st_mtime

    def is_saved() -> bool:
        with suppress(FileNotFoundError):
            return saved_state(cluster).stat().st_mtime > since
        return False

    await_(is_saved, "the end is saved")
    cluster.fault("kill-ctld")
    (flags(cluster) / "go").touch()
    cluster.fault("start-ctld")
    check(cluster, job_id, source="hook")


def test_slurmctld_is_frozen_when_the_trainer_ends(cluster: ManagedCluster) -> None:
    # Frozen before the first checkpoint, of which the supervisor would tell at once.
    job_id = start(cluster, fail=f"wait@{EVERY - 1};hang@15")
    await_(lambda: ";attempt=0" in cluster.job(job_id)["run"], "the first report")
    supervisor = cluster.batch_pid(job_id)
    cluster.fault("freeze-ctld")
    try:
        cluster.let_go()
        cluster.await_step(10)
        os.kill(trainer_of(supervisor), signal.SIGKILL)
        # It gives up saying so to Slurm, and the job's script ends all the same.
        await_(lambda: not Path(f"/proc/{supervisor}").exists(), "the supervisor's end")
    finally:
        cluster.fault("thaw-ctld")
    assert cluster.await_end(job_id) == "COMPLETED"
    ends = cluster.ends(job_id)
    assert [end["action"] for end in ends] == ["requeue", "leave"]
    assert ends[0]["failures"] == 1  # short, failed, and nothing is known of its progress
    runs = cluster.summary()["runs"]
    assert [run["status"] for run in runs] == ["failed", "success"]
    assert runs[1]["starting_step"] >= 10


def trainer_of(supervisor: int) -> int:
    """The process of cszoo below a supervisor."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and supervisor in ancestors(int(process.name)):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if words[1:2] and words[1].endswith(b"/cszoo"):
                    return int(process.name)
    raise AssertionError("no trainer is running")


def ancestors(pid: int) -> Iterator[int]:
    """The processes above one."""
    while pid > 1:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        pid = int(stat.rpartition(")")[2].split()[1])
        yield pid


# --- the hook ------------------------------------------------------------------------------------


def run_hook(cluster: ManagedCluster, recorded: Path) -> None:
    """Run the hook as slurmctld did, with the same environment."""
    assert recorded.exists()
    pairs = (pair.partition("=") for pair in recorded.read_text().split("\0") if pair)
    environment = {key: value for key, _, value in pairs}
    subprocess.run(
        [cluster.hook.with_name("csx-epilog.real")],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=DEADLINE,
        **cluster._as_slurm(),
    )


def test_the_hook_runs_twice_for_one_end(cluster: ManagedCluster) -> None:
    wrap_hook(cluster, "env -0 >env; real; real; touch twice")
    job_id = start(cluster)
    await_((flags(cluster) / "twice").exists, "the hook has run twice")
    check(cluster, job_id, source="hook")


def test_the_hook_runs_again_for_an_old_end(cluster: ManagedCluster) -> None:
    # By hand, or by a controller that was restored from an old state: the job has gone on.
    wrap_hook(cluster, 'env -0 >"env-$SLURM_JOB_RESTART_COUNT"; real')
    faults = f"exit:3@{FAILS_AT}/restart=0;wait@18/restart=1"
    job_id = start(cluster, command="cszoo fit {config}", fail=faults)
    recorded = flags(cluster) / "env-0"
    await_(lambda: len(cluster.ends(job_id)) == 1, "the first end")
    cluster.await_state(job_id, "PENDING", "RUNNING")
    run_hook(cluster, recorded)
    cluster.await_running(job_id)
    cluster.await_step(15)
    run_hook(cluster, recorded)
    cluster.let_go()
    check(cluster, job_id, source="hook")
    run_hook(cluster, recorded)
    assert cluster.state(job_id) == "COMPLETED"
    assert len(cluster.ends(job_id)) == 2


BLOCKS = 'echo "$PPID $$" >"$flags/pids.new"; mv "$flags/pids.new" "$flags/pids"; exec sleep 3600'


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_hook_is_killed_at_the_requeue(cluster: ManagedCluster, when: str) -> None:
    act = "" if when == "before" else f'{cluster.bin_dir}/scontrol "$@";'
    stub_scontrol(cluster, f'if [ "$1" = requeue ] && mkdir "$flags/once"; then {act} {BLOCKS}; fi')
    job_id = start(cluster)
    pids = flags(cluster) / "pids"
    await_(pids.exists, "the hook asks for the requeue")
    [intent] = [event for event in cluster.journal(job_id) if event["event"] == "intend"]
    assert intent["operations"][0] == "requeue"
    for pid in pids.read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    await_(lambda: cluster.state(job_id) != "COMPLETING", "the hook's end")
    cluster.reconcile()
    check(cluster, job_id, source="hook")


def test_the_hook_never_runs(cluster: ManagedCluster) -> None:
    cluster.hook.chmod(0o644)
    job_id = start(cluster)
    assert cluster.await_state(job_id, "FAILED")
    cluster.hook.chmod(0o755)
    cluster.reconcile()
    check(cluster, job_id, source="sweep")


def test_without_the_hook_slurm_cancels_another_phase_where_it_is_asked_to(
    cluster: ManagedCluster,
) -> None:
    # afterok and --kill-on-invalid-dep: Slurm cancels the second phase before any sweep can act.
    cluster.environment["CSX_EXAMPLE_FAIL"] = f"exit:3@{FAILS_AT}/restart=0"
    config = two_phases(cluster)
    cluster.hook.chmod(0o644)
    first, second = cluster.csx_sbatch(config, "--kill-on-invalid-dep=yes")
    cluster.await_state(second, "CANCELLED")
    await_(lambda: cluster.reconcile() and cluster.ends(first), "the sweep finds the end")
    cluster.hook.chmod(0o755)
    assert cluster.await_end(first) == "COMPLETED"
    assert cluster.state(second) == "CANCELLED"
    assert cluster.job(second)["Reason"] == "DependencyNeverSatisfied"


def test_two_ends_within_one_restart_count(cluster: ManagedCluster) -> None:
    # NODE_FAIL of attempt 0 and the failure of attempt 1 both show Restarts=1.
    faults = "hang@12/restart=0;exit:3@18/restart=1"
    job_id = start(cluster, command="cszoo fit {config}", fail=faults)
    cluster.await_step(EVERY)
    down = cluster.nodes_of(job_id)[0]
    cluster.fault("node-down", down)
    assert cluster.await_end(job_id) == "COMPLETED"
    ends = cluster.ends(job_id)
    assert [end["restarts"] for end in ends] == [1, 1, 2]
    assert [end["category"] for end in ends] == ["hardware.node", "unknown", "completed"]
    assert [end["action"] for end in ends] == ["adjust", "requeue", "leave"]
    assert cluster.excluded(job_id) == {down}
    assert cluster.job(job_id)["ExcNodeList"] == down
    assert [run["status"] for run in cluster.summary()["runs"]] == ["failed", "failed", "success"]


def cluster_name(cluster: ManagedCluster) -> str:
    """ClusterName, after which the journal's folder is called."""
    return re.search(r"^ClusterName=(.+)", cluster.conf.read_text(), re.MULTILINE)[1]


def two_phases(cluster: ManagedCluster) -> Path:
    """A config of two phases."""
    path = cluster.config(
        command="cszoo fit {config}", nodes=1, min_nodes=1, steps=STEPS, every=EVERY
    )
    data = yaml.safe_load(path.read_text())
    second = copy.deepcopy(data["trainer"])
    second["init"]["loop"]["max_steps"] = 2 * STEPS
    data["trainer"] = [{"trainer": data["trainer"]}, {"trainer": second}]
    path.write_text(yaml.safe_dump(data))
    return path


# --- its disk ------------------------------------------------------------------------------------


def test_a_job_whose_journal_cannot_be_written_is_requeued_and_judged_by_a_sweep(
    cluster: ManagedCluster,
) -> None:
    folder = cluster.state_dir / "journal" / cluster_name(cluster)
    for made in (folder.parent, folder):
        made.mkdir(exist_ok=True)
        os.chown(made, cluster.slurm_user.pw_uid, cluster.slurm_user.pw_gid)
    folder.chmod(0o500)
    try:
        job_id = start(cluster)
        await_(lambda: "not judged: requeued" in cluster.hook_log(), "the requeue of csx-epilog")
        assert "Permission denied" in cluster.hook_log()
        cluster.await_state(job_id, "PENDING")
        assert cluster.reconcile()["problems"] == 1
        assert cluster.state(job_id) == "PENDING"
    finally:
        folder.chmod(0o700)
    assert cluster.await_end(job_id) == "COMPLETED"
    ends = cluster.ends(job_id)
    assert [(end["attempt"], end["action"]) for end in ends] == [(0, "adjust"), (1, "leave")]
    assert (ends[0]["category"], ends[0]["total"]) == ("unknown", 1)
    assert cluster.job(job_id)["Restarts"] == "1"


def test_a_corrupt_journal_is_read_as_far_as_it_goes(cluster: ManagedCluster) -> None:
    job_id = start(cluster, command="cszoo fit {config}", fail="exit:3@1")
    cluster.environment.pop("CSX_EXAMPLE_FAIL")
    await_(lambda: len(cluster.ends(job_id)) >= 1, "the first end")
    [journal] = cluster.state_dir.glob(f"journal/*/{job_id}-*.jsonl")
    with journal.open("ab") as file:
        file.write(b'\0\xff[[[\n{"event":["end"]}\n{"event":"end","at":1}\n7\n{"event":"en')
    assert cluster.await_end(job_id) == "FAILED"
    text = journal.read_text(errors="replace")
    assert text.count('{"event":"end","at"') == 5
    assert "line left out" in cluster.hook_log()
    explained = cluster.run("csx-restart", "explain", str(job_id))
    assert "max_num_restarts is 3" in explained


# --- a storm -------------------------------------------------------------------------------------


def test_a_storm_of_ends(cluster: ManagedCluster) -> None:
    cluster.configure(policy=FAST, hook=HOOK | {"concurrency": 2, "queue_timeout": 0.1})
    script = (
        '[ -z "$SLURM_RESTART_COUNT" ] || exit 0\n'
        f"while [ ! -e {flags(cluster)}/go ]; do sleep 0.2; done\nexit 3"
    )
    jobs = [
        cluster.submit(
            script,
            "--requeue",
            "-n1",
            f"--comment=csx-restart/1 run={number:016x};max=3;num=1;min=1",
        )
        for number in range(30)
    ]
    for job_id in jobs:
        cluster.await_state(job_id, "RUNNING")
    (flags(cluster) / "go").touch()
    for job_id in jobs:
        assert cluster.await_end(job_id, "COMPLETED") == "COMPLETED"
        assert cluster.job(job_id)["Restarts"] == "1"
    cluster.reconcile()
    for job_id in jobs:
        first, second = (end["action"] for end in cluster.ends(job_id))
        # The script itself has requeued those whose turn did not come in time.
        assert first in ("requeue", "adjust")
        assert second == "leave"
    assert "no turn within 0.1 s" in cluster.hook_log()
