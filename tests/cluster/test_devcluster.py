"""devcluster on real clusters: what it boots works, what it breaks is broken, what it ends is gone.

Which processes a cluster has is looked up here by other means than devcluster's own: anything with
the cluster's directory in its arguments, environment or working directory, and the sleeps of the
jobs by their odd durations.
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from contrib.devcluster_parts import release, software

DEVCLUSTER = Path(__file__).parents[2] / "contrib" / "devcluster"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
AS_ROOT = os.geteuid() == 0
# A user that every Debian has; not `nobody`, whom Slurm 26.05 takes for no user.
ORDINARY = "games"
AS_ORDINARY = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
AS_SUBMITTER = AS_ORDINARY if AS_ROOT else []

# A busy machine is to make no node DOWN.
PATIENT = ("--timeout=300", "--set=SlurmdTimeout=120", "--set=MessageTimeout=60")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        shutil.which("slurmctld", path=SYSTEM_PATH) is None, reason="slurmctld is not installed"
    ),
]


def await_(condition: Callable[[], object], timeout: float = 300) -> None:
    """Return once the condition holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.05)


def processes(part: str) -> list[str]:
    """The command lines of all live processes that have `part` somewhere."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace")
            environment = (entry / "environ").read_bytes().decode(errors="replace")
            directory = str((entry / "cwd").readlink())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if arguments and part in f"{arguments}\0{environment}\0{directory}":
            found.append(arguments.replace("\0", " "))
    return found


def devcluster(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [DEVCLUSTER, *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    if check:
        assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def sleeps(duration: str) -> int:
    """How many `sleep DURATION` of the jobs there are."""
    return sum(not line.startswith("srun ") for line in processes(f"sleep\0{duration}"))


def odd_duration() -> str:
    return f"600.{secrets.randbelow(10**9):09}"


@dataclass(frozen=True)
class Box:
    """A cluster's directory, with what the tests ask of the cluster."""

    directory: Path
    work: Path

    def up(self, *options: str) -> None:
        devcluster("up", f"--until-exit-of={os.getpid()}", *PATIENT, *options, self.directory)

    def down(self, *options: str) -> None:
        devcluster("down", *options, self.directory)

    def fault(self, *arguments: str) -> None:
        devcluster("fault", self.directory, *arguments)

    def run(self, *command: str, timeout: float = 300) -> str:
        done = subprocess.run(
            [DEVCLUSTER, "run", self.directory, "--", *AS_SUBMITTER, *command],
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        """Submit a script; its job id."""
        path = self.work / f"{secrets.token_hex(4)}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        return self.run("sbatch", "--parsable", *options, str(path)).strip()

    def sleeper(self, nodes: str, before: str = "") -> tuple[str, str, str]:
        """A job whose script and ranks sleep; its id and the two durations, once all do."""
        batch, rank = odd_duration(), odd_duration()
        script = f"{before}\nsleep {batch} & srun --ntasks-per-node=1 sleep {rank}"
        count = 1 if "-" not in nodes else int(nodes[-2]) - int(nodes[-4]) + 1
        job = self.submit(script, "--exclusive", f"-N{count}", f"-w{nodes}")
        await_(lambda: sleeps(batch) == 1 and sleeps(rank) == count)
        return job, batch, rank

    def job(self, job: str) -> str:
        """State and reason of a job, as squeue shows them."""
        return self.run("squeue", "-h", "-a", "-t", "all", "-j", job, "-o", "%T %r").strip()

    def node(self, node: str) -> str:
        """The state of a node, as sinfo shows it."""
        return self.run("sinfo", "-h", "-N", "-n", node, "-o", "%T").split()[0]

    def status(self) -> dict:
        done = devcluster("status", "--json", self.directory, check=False)
        return json.loads(done.stdout)

    def slurmd(self, node: str) -> str:
        return next(n["slurmd"]["state"] for n in self.status()["nodes"] if n["name"] == node)

    def has_steps(self, node: str) -> bool:
        return any(n["steps"] for n in self.status()["nodes"] if n["name"] == node)


@pytest.fixture(scope="module")
def new_box() -> Iterator[Callable[[], Box]]:
    """Make boxes in short paths (unix sockets) that everybody may enter; all are purged."""
    top = Path(tempfile.mkdtemp(prefix="csx", dir="/tmp"))
    top.chmod(0o755)
    boxes: list[Box] = []

    def make() -> Box:
        work = top / f"w{len(boxes)}"
        work.mkdir()
        work.chmod(0o1777)
        boxes.append(Box(top / str(len(boxes)), work))
        return boxes[-1]

    yield make
    for box in boxes:
        box.down("--purge")
    assert processes(str(top)) == []
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def shared(new_box: Callable[[], Box]) -> Box:
    box = new_box()
    box.up("--nodes=4", "--set", "killwait=1")
    return box


@pytest.fixture
def box(shared: Box) -> Iterator[Box]:
    """A cluster of four idle nodes; each test leaves it as it was, but for its jobs."""
    await_(lambda: {node["slurm_state"] for node in shared.status()["nodes"]} == {"idle"})
    yield shared
    for node in shared.status()["nodes"]:  # only where a test has failed
        if node["slurmd"]["state"] != "alive":
            mend = "start-slurmd" if node["slurmd"]["state"] == "dead" else "thaw-node"
            shared.fault(mend, node["name"])
    shared.run("scancel", "--me")


# --- booting -------------------------------------------------------------------------------------


def test_runs_a_job_of_an_ordinary_user_on_all_nodes(box: Box) -> None:
    printed = box.run("srun", "-N4", "--exclusive", "sh", "-c", "echo $SLURMD_NODENAME $(id -u)")
    user = pwd.getpwnam(ORDINARY).pw_uid if AS_ROOT else os.geteuid()
    assert sorted(printed.splitlines()) == [f"csx{n} {user}" for n in range(1, 5)]


def test_env_prints_what_a_client_needs(box: Box) -> None:
    exports = devcluster("env", box.directory).stdout
    shell = f"{exports}\nsinfo -h -o %D; echo $CSX_DEVCLUSTER"
    printed = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["4", str(box.directory)]


def test_a_setting_given_replaces_the_default(box: Box) -> None:
    lines = (box.directory / "etc" / "slurm.conf").read_text().splitlines()
    assert [line for line in lines if line.lower().startswith("killwait")] == ["killwait=1"]


def test_two_clusters_started_at_the_same_moment_do_not_meet(new_box: Callable[[], Box]) -> None:
    boxes = [new_box(), new_box()]
    command = [DEVCLUSTER, "up", "--nodes=2", *PATIENT, f"--until-exit-of={os.getpid()}"]
    ups = [subprocess.Popen([*command, box.directory], stdout=subprocess.DEVNULL) for box in boxes]
    assert [up.wait(timeout=300) for up in ups] == [0, 0]
    for box in boxes:
        assert box.run("srun", "-N2", "--exclusive", "echo", "here").split() == ["here", "here"]
    boxes[0].down()
    assert boxes[1].run("srun", "-N2", "--exclusive", "echo", "still").split() == ["still"] * 2
    boxes[1].down()


def test_preempts_from_the_second_partition(new_box: Callable[[], Box]) -> None:
    box = new_box()
    box.up("--nodes=1", "--preempt=REQUEUE", "--cpus=1")
    job, _, _ = box.sleeper("csx1")
    box.run("srun", "-N1", "-p", "high", "true")
    await_(lambda: box.job(job) == "PENDING BeginTime")
    box.down()


@pytest.mark.skipif(not AS_ROOT, reason="every other test shows it, when not run as root")
def test_works_wholly_without_root(new_box: Callable[[], Box]) -> None:
    box = new_box()
    box.directory.mkdir()
    shutil.chown(box.directory, ORDINARY)
    as_user = [*AS_ORDINARY, "env", "-i", f"PATH={SYSTEM_PATH}"]
    if subprocess.run([*as_user, "test", "-x", DEVCLUSTER], check=False).returncode != 0:
        pytest.skip(f"the user {ORDINARY} may not read {DEVCLUSTER}")
    until = f"--until-exit-of={os.getpid()}"
    up = [DEVCLUSTER, "up", "--nodes=2", *PATIENT, until, box.directory]
    subprocess.run([*as_user, *up], check=True)
    ranks = ["srun", "-N2", "--exclusive", "sh", "-c", "ps -o user= -p $PPID"]
    printed = subprocess.run(
        [*as_user, DEVCLUSTER, "run", "--down", box.directory, "--", *ranks],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.split() == [ORDINARY] * 2
    assert processes(str(box.directory)) == []


# --- accounting ----------------------------------------------------------------------------------


@pytest.mark.skipif(
    any(
        shutil.which(name, path=SYSTEM_PATH) is None
        for name in ("slurmdbd", "my_print_defaults", "mariadbd")
    ),
    reason="slurmdbd, mariadb-server-core or mariadb-client-core is not installed",
)
def test_accounting_knows_the_users_and_outlives_its_daemon(new_box: Callable[[], Box]) -> None:
    box = new_box()
    box.up("--nodes=1", "--accounting")
    assert box.run("sacctmgr", "-nP", "show", "account", "dev", "format=account").split() == ["dev"]
    assert [line.split()[1] for line in daemons(box)] == ["alive"] * 5
    box.fault("kill-dbd")
    job = box.submit("true")
    await_(lambda: box.job(job).startswith("COMPLETED"))
    assert refused("fault", box.directory, "freeze-dbd")[0] == 1
    box.fault("start-dbd")
    account = ["sacct", "-nPX", "-j", job, "--format", "State,Account"]
    await_(lambda: box.run(*account).split() == ["COMPLETED|dev"])
    box.down()
    assert processes(str(box.directory)) == []


def daemons(box: Box) -> list[str]:
    """The lines of `status` about all daemons but the nodes'."""
    lines = devcluster("status", box.directory).stdout.splitlines()
    return [line for line in lines[1:] if not line.startswith("csx")]


def test_a_cluster_without_accounting_has_no_slurmdbd_to_break(box: Box) -> None:
    assert refused("fault", box.directory, "kill-dbd")[0] == 1
    assert "--accounting" in refused("fault", box.directory, "start-dbd")[1]


# --- other releases ------------------------------------------------------------------------------

MADE = [name for name in release.RELEASES if release.complete(release.chroot_of(name))]
outside = pytest.mark.skipif(
    not AS_ROOT or release.current_release() is not None, reason="only root, outside of a chroot"
)


@outside
@pytest.mark.skipif(not MADE, reason="no chroot is made yet: contrib/devcluster --release …")
def test_a_cluster_in_a_chroot_is_used_from_outside(new_box: Callable[[], Box]) -> None:
    box = new_box()
    until = f"--until-exit-of={os.getpid()}"
    up = ["--release", MADE[-1], "up", "--nodes=1", *PATIENT, until, box.directory]
    assert f"{MADE[-1]}: slurm" in devcluster(*up).stderr
    known = (box.directory / "cluster.json").read_text()
    assert json.loads(known)["debian"] == MADE[-1]
    command = ["srun", "-N1", "cat", release.MARKER]
    assert devcluster("run", box.directory, "--", *command).stdout == f"{MADE[-1]}\n"
    box.fault("kill-slurmd", "csx1")
    box.fault("start-slurmd", "csx1")
    assert "devcluster run" in refused("env", box.directory)[1]
    mounts = Path("/proc/mounts").read_text()
    box.down()
    assert processes(str(box.directory)) == []
    assert str(release.cache_directory()) not in mounts


@outside
def test_a_cluster_in_a_chroot_is_refused_where_it_cannot_be_seen() -> None:
    code, message = refused("--release", "trixie", "up", "/nonexistent/cluster")
    assert (code, "/var/tmp" in message) == (2, True)


def test_a_release_without_a_command_is_refused() -> None:
    assert refused("--release", "trixie")[0] == 2
    assert refused("--release", "sarge", "--", "true")[0] == 2
    assert refused()[0] == 2


def test_processes_that_need_the_same_chroot_make_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(_: str, root: Path, __: Path) -> None:
        made.append(root)
        (root / "etc").mkdir(parents=True)
        time.sleep(0.2)  # the others come while it is being made
        (root / release.MARKER.relative_to("/")).touch()

    monkeypatch.setenv("CSX_RELEASE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(release, "make", make)
    monkeypatch.setattr(release, "require_root", lambda: None)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(release.prepare, ["forky"] * 4))
    assert list(found) == made
    assert made[0].parent == tmp_path / "cache"


# --- refusals ------------------------------------------------------------------------------------


def refused(*arguments: str | Path) -> tuple[int, str]:
    done = devcluster(*arguments, check=False)
    assert done.stderr.startswith(("devcluster: ", "usage: "))
    return done.returncode, done.stderr


def test_up_is_refused_where_a_cluster_is_up(box: Box) -> None:
    code, message = refused("up", box.directory)
    assert (code, "a cluster is up here" in message) == (1, True)
    assert box.node("csx1") == "idle"


def test_up_is_refused_in_a_directory_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert refused("up", tmp_path)[0] == 2
    devcluster("down", "--purge", tmp_path)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("epilog", ["relative/epilog", "/nonexistent/epilog", "/etc/passwd"])
def test_an_epilog_that_cannot_run_is_refused(new_box: Callable[[], Box], epilog: str) -> None:
    directory = new_box().directory
    code, message = refused("up", "--epilog", epilog, directory)
    assert (code, epilog in message, directory.exists()) == (2, True, False)


def test_missing_software_is_listed(new_box: Callable[[], Box]) -> None:
    code, message = refused("up", "--prefix=/nonexistent", new_box().directory)
    assert code == 3
    assert all(name in message for name in ("slurmctld", "slurmd", "sbatch"))


def test_a_slurm_for_one_slurmd_a_machine_is_refused_for_more_nodes(
    new_box: Callable[[], Box],
) -> None:
    box = new_box()
    programs = box.work / "bin"
    programs.mkdir()
    for name in software.PACKAGES:
        (programs / name).symlink_to(str(software.find_program(name, None)))
    scontrol = programs / "scontrol"
    scontrol.unlink()
    real = software.find_program("scontrol", None)
    scontrol.write_text(f'#!/bin/sh\n{real} "$@" | sed "/^MULTIPLE_SLURMD/d"\n')
    scontrol.chmod(0o755)
    code, message = refused("up", "--nodes=2", f"--prefix={box.work}", box.directory)
    assert (code, "--enable-multiple-slurmd" in message) == (3, True)
    assert processes(str(box.directory)) == []
    box.up("--nodes=1", f"--prefix={box.work}")


def test_a_daemon_that_cannot_start_is_shown_with_its_last_words(
    new_box: Callable[[], Box],
) -> None:
    directory = new_box().directory
    code, message = refused("up", "--set", "SelectType=select/bogus", directory)
    assert (code, "select/bogus" in message) == (1, True)
    assert processes(str(directory)) == []


def test_a_fault_without_a_victim_is_an_error(box: Box) -> None:
    assert refused("fault", box.directory, "kill-slurmd", "csx9")[0] == 2
    assert refused("fault", box.directory, "kill-stepd", "csx1")[0] == 1
    assert refused("fault", box.directory, "start-slurmd", "csx1")[0] == 1


# --- ending --------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["Slurm", "munged", "slurmctld", "slurmds"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_up_leaves_no_process(
    new_box: Callable[[], Box], moment: str, number: signal.Signals
) -> None:
    directory = new_box().directory
    # Nodes that have fewer CPUs than configured never get idle: no moment can come too late.
    never_ready = ["--nodes=20", "--cpus=999", "--set=SlurmdParameters="]
    with subprocess.Popen(
        [DEVCLUSTER, "up", *never_ready, directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if moment in line:
                up.send_signal(number)
    # A command of Slurm's that was just started may outlive it by a moment.
    await_(lambda: processes(str(directory)) == [])
    assert up.returncode == (-9 if number == signal.SIGKILL else 128 + number)


def full_box(box: Box) -> list[str]:
    """Boot a cluster with a running job and an orphan without any environment; their marks."""
    box.up("--nodes=2")
    orphan = odd_duration()
    _, batch, rank = box.sleeper("csx[1-2]", before=f"(env -i setsid sleep {orphan} &)")
    await_(lambda: sleeps(orphan) == 1)
    return [str(box.directory), f"sleep\0{batch}", f"sleep\0{rank}", f"sleep\0{orphan}"]


def test_down_ends_everything_and_may_be_repeated(new_box: Callable[[], Box]) -> None:
    box = new_box()
    marks = full_box(box)
    box.down()
    assert [processes(mark) for mark in marks] == [[]] * 4
    assert (box.directory / "log" / "slurmctld.log").exists()
    assert box.status()["keeper"]["state"] == "dead"
    box.down("--purge")
    assert not box.directory.exists()
    box.down("--purge")


def test_down_ends_everything_when_the_keeper_is_gone(new_box: Callable[[], Box]) -> None:
    box = new_box()
    box.up("--nodes=2")
    _, batch, rank = box.sleeper("csx[1-2]")
    box.fault("kill-stepd", "csx1")
    os.kill(box.status()["keeper"]["pid"], signal.SIGKILL)
    assert "processes of an earlier cluster" in refused("up", box.directory)[1]
    box.down()
    marks = [str(box.directory), f"sleep\0{batch}", f"sleep\0{rank}"]
    assert [processes(mark) for mark in marks] == [[]] * 3


def test_ends_with_the_process_it_was_bound_to(new_box: Callable[[], Box]) -> None:
    box = new_box()
    with subprocess.Popen(["sleep", "600"]) as owner:
        devcluster("up", "--nodes=1", *PATIENT, f"--until-exit-of={owner.pid}", box.directory)
        owner.kill()
    await_(lambda: processes(str(box.directory)) == [])


def test_ends_when_its_directory_is_removed(new_box: Callable[[], Box]) -> None:
    box = new_box()
    box.up("--nodes=1")
    shutil.rmtree(box.directory)
    await_(lambda: processes(str(box.directory)) == [])


def test_run_passes_on_the_exit_code_and_takes_down(new_box: Callable[[], Box]) -> None:
    box = new_box()
    box.up("--nodes=1")
    assert devcluster("run", box.directory, "--", "sh", "-c", "exit 7", check=False).returncode == 7
    assert processes(str(box.directory)) != []
    command = ["run", "--down", box.directory, "--", "sh", "-c", "kill -9 $$"]
    assert devcluster(*command, check=False).returncode == 137
    assert processes(str(box.directory)) == []


# --- faults --------------------------------------------------------------------------------------


def test_kill_slurmd_kills_all_that_ran_on_the_node(box: Box) -> None:
    _, batch, rank = box.sleeper("csx[1-2]")
    box.fault("kill-slurmd", "csx1")
    assert box.slurmd("csx1") == "dead"
    assert not box.has_steps("csx1")
    assert sleeps(batch) == 0
    assert sleeps(rank) == 1  # csx2's
    box.fault("start-slurmd", "csx1")
    assert box.slurmd("csx1") == "alive"


def test_kill_slurmd_only_leaves_the_steps_alone(box: Box) -> None:
    job, batch, rank = box.sleeper("csx[1-2]")
    box.fault("kill-slurmd-only", "csx1")
    assert box.slurmd("csx1") == "dead"
    assert box.has_steps("csx1")
    assert sleeps(batch) == 1
    assert sleeps(rank) == 2
    box.fault("start-slurmd", "csx1")
    assert box.job(job) == "RUNNING None"


def test_kill_stepd_leaves_its_processes_alone(box: Box) -> None:
    job, batch, _ = box.sleeper("csx[1-2]")
    box.fault("kill-stepd", "csx1", job)
    steps = {step["step"] for node in box.status()["nodes"] for step in node["steps"]}
    assert steps == {"0"}
    assert sleeps(batch) == 1
    box.fault("kill-slurmd", "csx1")
    assert sleeps(batch) == 0  # found although its slurmstepd is dead
    box.fault("start-slurmd", "csx1")


def test_kill_step_kills_a_rank_and_slurm_notices(box: Box) -> None:
    job = box.submit("srun -K sleep 600", "-N2", "-w", "csx[1-2]", "--no-requeue")
    await_(lambda: box.has_steps("csx2"))
    await_(lambda: box.run("squeue", "-h", "-s", "-j", job))
    box.fault("kill-step", "csx2")
    await_(lambda: box.job(job) == "FAILED NonZeroExitCode")


def test_a_frozen_node_is_silent_until_thawed(box: Box) -> None:
    box.sleeper("csx[1-2]")
    box.fault("freeze-node", "csx2")
    assert (box.slurmd("csx1"), box.slurmd("csx2")) == ("alive", "frozen")
    box.fault("thaw-node", "csx2")
    assert box.slurmd("csx2") == "alive"


def test_nodes_are_set_down_drained_and_resumed(box: Box) -> None:
    box.fault("node-down", "csx3", "bad luck")
    box.fault("node-drain", "csx4")
    box.fault("kill-slurmd-only", "csx3")
    box.fault("start-slurmd", "csx3")  # that it registers brings it back no more than it should
    assert (box.node("csx3"), box.node("csx4")) == ("down", "drained")
    assert "bad luck" in box.run("sinfo", "-R", "-h")
    box.fault("node-resume", "csx3")
    box.fault("node-resume", "csx4")
    await_(lambda: (box.node("csx3"), box.node("csx4")) == ("idle", "idle"))


def test_a_frozen_controller_hangs_commands_until_thawed(box: Box) -> None:
    box.fault("freeze-ctld")
    with pytest.raises(subprocess.TimeoutExpired):
        box.run("squeue", timeout=1)
    assert box.status()["slurmctld"]["state"] == "frozen"
    box.fault("thaw-ctld")
    box.run("squeue")


def test_a_killed_controller_comes_back_with_its_jobs(box: Box) -> None:
    job, batch, _ = box.sleeper("csx1")
    # slurmctld saves its state some seconds after a change; killed before, it forgets the job. So
    # make a change that shows up in the saved state, after the job has started.
    mark = f"saved-{secrets.token_hex(8)}"
    box.submit("true", "--hold", f"--job-name={mark}")
    await_(lambda: mark.encode() in (box.directory / "state" / "job_state").read_bytes())
    box.fault("kill-ctld")
    assert box.status()["slurmctld"]["state"] == "dead"
    box.fault("start-ctld")
    assert box.job(job) == "RUNNING None"
    assert sleeps(batch) == 1


def test_a_failing_prolog_holds_the_job_and_drains_the_node(box: Box) -> None:
    box.fault("fail-prolog", "csx2")
    job = box.submit("true", "-N1", "-w", "csx2")
    await_(lambda: box.job(job).endswith("launch failed requeued held"))
    assert box.node("csx2") == "drained"
    box.fault("mend-prolog", "csx2")
    box.fault("node-resume", "csx2")
    await_(lambda: box.node("csx2") == "idle")
    box.run("srun", "-N1", "-w", "csx2", "true")


def test_a_slow_epilog_keeps_the_job_completing(box: Box) -> None:
    box.fault("slow-epilog", "csx2", "2")
    started = time.monotonic()
    box.run("srun", "-N1", "-w", "csx2", "true")
    await_(lambda: box.node("csx2") == "idle")
    assert time.monotonic() - started >= 2
    box.fault("mend-epilog", "csx2")
