"""With slurmdbd: accounting, a database that is slow or dead, and limits that Slurm enforces."""

import json
import re
import shutil
from collections.abc import Iterator

import pytest

from contrib.devcluster_parts.accounting import ACCOUNT
from contrib.testing.dev_cluster import SYSTEM_PATH
from contrib.testing.managed_cluster import FAST, ManagedCluster
from contrib.testing.waiting import LONG_DEADLINE, await_

STEPS, EVERY, FAILS_AT = 20, 5, 12
REFUSAL = "DB index is being set"
ABSENT = [
    name
    for name in ("slurmdbd", "mariadbd", "mariadb-install-db", "my_print_defaults")
    if shutil.which(name, path=SYSTEM_PATH) is None
]
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"{', '.join(ABSENT)}: not installed")


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    often = "SchedulerParameters=sched_interval=1,bf_interval=1"
    return {"nodes": 5, "options": ("--accounting", "--set", often)}


@pytest.fixture(autouse=True)
def _as_booted(cluster: ManagedCluster) -> Iterator[None]:
    """slurmdbd answers and the account is without a limit, after every test."""
    cluster.configure(policy=FAST)
    yield
    print(cluster.hook_log()[-3000:])  # noqa: T201 - shown where the test has failed
    if slurmdbd(cluster) != "alive":
        cluster.fault("thaw-dbd" if slurmdbd(cluster) == "frozen" else "start-dbd")
    limit_account(cluster, "GrpTRES=node=-1,cpu=-1")


def slurmdbd(cluster: ManagedCluster) -> str:
    """Whether slurmdbd is alive, frozen or dead."""
    status = json.loads(cluster._devcluster("status", "--json", str(cluster.root)))
    return str(status["slurmdbd"]["state"])


def sacctmgr(cluster: ManagedCluster, *words: str) -> str:
    """Change the accounting database as an administrator; nothing to change is no error."""
    return cluster.run("sacctmgr", "-i", *words, as_root=True, check=False)


def limit_account(cluster: ManagedCluster, limit: str) -> None:
    """Set a limit of the account that the submitting user is in."""
    sacctmgr(cluster, "modify", "account", ACCOUNT, "set", limit)


def start(
    cluster: ManagedCluster, *faults: str, options: tuple[str, ...] = (), **changes: object
) -> int:
    """Submit a run of one node whose trainer behaves like this."""
    cluster.trainer_does(*faults)
    wanted = {"nodes": 1, "min_nodes": 1, "steps": STEPS, "every": EVERY} | changes
    [job_id] = cluster.csx_sbatch(cluster.config(command="cszoo fit {config}", **wanted), *options)
    return job_id


def check_one_restart(
    cluster: ManagedCluster, job_id: int, *, failures: str = "0", may_be_refused: str | None = None
) -> bool:
    """The run has failed once and finished, and its AdminComment gives the counters.

    Returns:
        Whether it does; if it was refused, nobody asks for it again once the job runs.
    """
    assert cluster.await_end(job_id) == "COMPLETED"
    assert [end["action"] for end in cluster.ends(job_id)] == ["requeue", "leave"]
    failed = [event for event in cluster.journal(job_id) if event.get("failed")]
    assert all(may_be_refused and may_be_refused in str(event) for event in failed), failed
    assert cluster.job(job_id)["Restarts"] == "1"
    assert [run["starting_step"] for run in cluster.summary()["runs"]] == [0, 10]
    pattern = rf"csx-restart: failures={failures}/3 total=1 "
    told = re.search(pattern, admin_comment(cluster, job_id)) is not None
    assert told or failed
    return told


def admin_comment(cluster: ManagedCluster, job_id: int) -> str:
    """The line of `scontrol show job` that holds the AdminComment."""
    text = cluster.run("scontrol", "show", "job", str(job_id), as_root=True)
    return next((line for line in text.splitlines() if "AdminComment=" in line), "")


def accounted(cluster: ManagedCluster, job_id: int) -> list[tuple[str, str]]:
    """State and AdminComment of each attempt, as the accounting database has them."""
    fields = ("--format", "State,AdminComment")
    rows = cluster.run("sacct", "-nPDX", "-j", str(job_id), *fields, as_root=True).splitlines()
    return [(row.partition("|")[0], row.partition("|")[2]) for row in rows]


def await_accounted(cluster: ManagedCluster, job_id: int) -> list[tuple[str, str]]:
    """Wait until the database has a finished second attempt; return the rows of all attempts."""
    await_(
        lambda: [state for state, _ in accounted(cluster, job_id)][1:] == ["COMPLETED"],
        f"two attempts of job {job_id} in the accounting database",
    )
    return accounted(cluster, job_id)


# --- the database --------------------------------------------------------------------------------


@pytest.mark.core
def test_each_attempt_is_accounted_with_the_reason_of_its_restart(cluster: ManagedCluster) -> None:
    job_id = start(cluster, f"wait@{FAILS_AT - 1}/restart=0", f"exit:3@{FAILS_AT}/restart=0")
    await_answered(cluster, job_id)
    cluster.let_go()
    # The database has to answer anew once the job is requeued.
    told = check_one_restart(cluster, job_id, may_be_refused=REFUSAL)
    first, second = await_accounted(cluster, job_id)
    # 22.05 and 24.11 call an attempt that was requeued REQUEUED, 26.05 calls it FAILED.
    assert first[0] in {"REQUEUED", "FAILED"}
    assert ("failures=0/3" in second[1]) is told


def test_an_update_is_repeated_until_the_database_has_answered(cluster: ManagedCluster) -> None:
    cluster.fault("freeze-dbd")
    try:
        job_id = start(cluster, f"wait@{FAILS_AT - 1}/restart=0", f"exit:3@{FAILS_AT}/restart=0")
        cluster.await_running(job_id)
        # slurmctld of 24.11 numbers the records itself, and refuses nothing (measured).
        refuses = cluster.run("sinfo", "-V").split()[-1] < "24.11"
        if refuses:
            await_(lambda: REFUSAL in update(cluster, job_id), "a refusal")
        cluster.let_go()
        await_(lambda: cluster.ends(job_id), "the end is judged")
        await_(lambda: cluster.job(job_id)["Restarts"] == "1", "the job is requeued")
        assert (REFUSAL in update(cluster, job_id)) == refuses
    finally:
        cluster.fault("thaw-dbd")
    # The job could not report its progress meanwhile, so that a short attempt counts as a failure.
    # On a busy machine the hook, which repeats an update for seconds, leaves it to the reconciler.
    check_one_restart(cluster, job_id, failures="[01]", may_be_refused=REFUSAL)


def await_answered(cluster: ManagedCluster, job_id: int) -> None:
    """Wait until a job runs and the database has answered, so that updates are not refused."""
    cluster.await_running(job_id)
    await_(lambda: REFUSAL not in update(cluster, job_id), "the database has answered")


def update(cluster: ManagedCluster, job_id: int) -> str:
    """What Slurm answers to an update of the AdminComment."""
    command = f"scontrol update JobId={job_id} AdminComment=probe 2>&1"
    return cluster.run("sh", "-c", command, as_root=True, check=False)


def test_a_run_is_restarted_while_slurmdbd_is_dead(cluster: ManagedCluster) -> None:
    job_id = start(cluster, f"wait@{FAILS_AT - 1}/restart=0", f"exit:3@{FAILS_AT}/restart=0")
    await_answered(cluster, job_id)
    cluster.fault("kill-dbd")
    try:
        cluster.let_go()
        check_one_restart(cluster, job_id)
    finally:
        cluster.fault("start-dbd")
    await_accounted(cluster, job_id)


def test_a_job_that_slurmctld_has_forgotten_is_classified(cluster: ManagedCluster) -> None:
    # slurmctld forgets a job after MinJobAge, and squeue then says this.
    forgetful = cluster.work / "forgetful"
    forgetful.mkdir()
    (forgetful / "squeue").write_text(
        "#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n"
    )
    (forgetful / "squeue").chmod(0o755)
    message = "ModuleNotFoundError: No module named 'flux'"
    job_id = cluster.submit(f'echo "{message}"; exit 3', "-N1", f"--account={ACCOUNT}")
    ask = ("sacct", "-nPDX", "-j", str(job_id), "--format", "State,ExitCode")
    # The exit code may be in the database a moment after the state.
    await_(
        lambda: cluster.run(*ask, as_root=True).strip() == "FAILED|3:0",
        f"the end of job {job_id} in the accounting database",
    )
    path = f"PATH={forgetful}:{cluster.environment['PATH']}"
    classify = (*cluster.csx_restart, "classify", "--json", "--job")
    answer = json.loads(cluster.run("env", path, *classify, str(job_id)))
    assert (answer["state"]["value"], answer["state"]["source"]) == ("FAILED", "accounting")
    assert (answer["category"], answer["exit_code"]) == ("code", "3:0")
    assert answer["root_cause"]["text"] == message
    unknown = cluster.run("env", path, *classify, "999999", check=False)
    assert unknown == ""


# --- limits --------------------------------------------------------------------------------------


def test_a_usage_limit_that_is_reached_ends_the_run(cluster: ManagedCluster) -> None:
    # Slurm ends the job as TIMEOUT, long before its time limit; a restart would wait for good.
    sacctmgr(cluster, "add", "qos", "tiny", "set", "GrpTRESMins=cpu=1")
    sacctmgr(cluster, "modify", "user", cluster.user.pw_name, "set", "qos+=tiny")
    job_id = start(cluster, "hang@15", options=("--qos=tiny", "--time=60"), nodes=2, min_nodes=2)
    cluster.await_step(10)
    # Slurm counts the usage once a minute and compares it with the limit every half minute.
    await_(lambda: cluster.ends(job_id), "the end", timeout=LONG_DEADLINE)
    [end] = cluster.ends(job_id)
    assert (end["category"], end["action"]) == ("usage_limit", "leave")
    assert cluster.await_end(job_id) == "TIMEOUT"
    assert cluster.job(job_id)["Restarts"] == "0"


@pytest.mark.parametrize("tres", ["node", "cpu"])
def test_a_run_grows_back_only_as_far_as_its_association_may(
    cluster: ManagedCluster, tres: str
) -> None:
    line = cluster.run("scontrol", "show", "node", "-o", cluster.node_names[0])
    of_each = {"node": 1, "cpu": int(re.findall(r" CPUTot=([0-9]+) ", line)[0])}
    limit_account(cluster, f"GrpTRES={tres}={3 * of_each[tres]}")
    faults = ("hang@12/restart=0", "wait@17/restart=1", "exit:3@18/restart=1")
    job_id = start(cluster, *faults, nodes=2, min_nodes=1)
    cluster.await_step(EVERY)
    first = cluster.nodes_of(job_id)
    spare = sorted(set(cluster.node_names) - set(first))
    for node in spare:
        cluster.fault("node-drain", node)
    cluster.fault("node-down", first[1])
    await_(
        lambda: cluster.reconcile() and cluster.ends(job_id) and cluster.state(job_id) == "RUNNING",
        "the second attempt",
    )
    assert cluster.nodes_of(job_id) == [first[0]]
    for node in spare:
        cluster.fault("node-resume", node)
    # The other job of the account takes what the limit leaves: 2 of 3. A fourth node is free.
    other = cluster.submit("sleep 600", "-N2", "--exclusive", f"--account={ACCOUNT}")
    cluster.await_state(other, "RUNNING")
    cluster.fault("node-resume", first[1])
    cluster.let_go()

    def ended() -> bool:
        cluster.reconcile()
        counts = cluster.run("squeue", "-h", "-t", "RUNNING", "-o", "%D").split()
        assert sum(map(int, counts)) <= 3
        # To wait until the account may have two nodes is as good as going on with one.
        # Slurm does not check a size that SlurmUser has written: the plugin waits in its place.
        if "waits: limits of account or QOS leave 1 nodes for 2" in admin_comment(cluster, job_id):
            cluster.run("scancel", str(other))
        return cluster.state(job_id) in {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}

    await_(ended, f"the end of job {job_id}", timeout=LONG_DEADLINE)
    assert cluster.state(job_id) == "COMPLETED"
    sizes = [run["num_csx"] for run in cluster.summary()["runs"]]
    assert sizes[:2] == [2, 1]
    # An attempt that is over in a moment is in no list of running jobs.
    assert cluster.state(other) != "RUNNING" or set(sizes[2:]) <= {1}


def test_a_job_that_waits_on_a_limit_of_its_qos_is_warned_of(cluster: ManagedCluster) -> None:
    sacctmgr(cluster, "add", "qos", "small", "set", "MaxTRESPerJob=node=1")
    sacctmgr(cluster, "modify", "user", cluster.user.pw_name, "set", "qos+=small")
    config = cluster.config(command="true", nodes=2, min_nodes=1)
    script = 'csx-sbatch --qos=small "$1" 2>err.txt'
    job_id = cluster.run("sh", "-c", script, "sh", str(config)).split()[-1]
    cluster.run("scancel", job_id)
    told = (cluster.work / "err.txt").read_text()
    assert f"warning: job {job_id} waits (QOSMaxNodePerJobLimit): " in told
    assert "1 of its 2 nodes would do" in told
