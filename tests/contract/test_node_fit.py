"""Which nodes Slurm grants a job together, and what the package counts, on a real cluster.

A cluster of its own: csx1 and csx2 are larger than csx3, which has no generic resource, and the
partitions `left` and `right` have no node in common.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from contrib.testing.dev_cluster import DevCluster, missing
from contrib.testing.waiting import await_
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.core.node_fit import is_large_enough
from slurm_restart.core.node_pool import build_pool, known_nodes
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.commands import Commands
from tests.contract.conftest import PATIENCE, PREFIX, QUICK

pytestmark = pytest.mark.cluster

LARGE = "CPUs=4 RealMemory=4000 TmpDisk=500 Gres=fpga:2"
SMALL = "CPUs=2 RealMemory=2000 TmpDisk=100"
SETTINGS = (
    "GresTypes=fpga",
    "SelectTypeParameters=CR_Core_Memory",
    "RequeueExit=201-203,205",
    "RequeueExitHold=210",
    "KillWait=1",
    QUICK,
)
PARTITIONS = tuple(
    f"PartitionName={name} Nodes={nodes} OverSubscribe=EXCLUSIVE State=UP MaxTime=INFINITE"
    for name, nodes in (("left", "csx1"), ("right", "csx[2-3]"))
)
OPTIONS = (
    "--cpus=4",
    *(f"--set={setting}" for setting in SETTINGS),
    *(f"--extra-line={line}" for line in PARTITIONS),
)
ALL = frozenset({"csx1", "csx2", "csx3"})
BIG = frozenset({"csx1", "csx2"})
GRANTED = (
    ((), ALL),
    (("--mem=2000",), ALL),
    (("--mem=2001",), BIG),
    (("--mem=4000",), BIG),
    (("--mem=0",), ALL),
    (("--mem-per-cpu=1000",), ALL),
    (("--mem-per-cpu=1000", "--mincpus=4"), BIG),
    (("--mincpus=2",), ALL),
    (("--mincpus=3",), BIG),
    (("--exclusive",), ALL),
    (("--exclusive", "--mem=0", "--gres=fpga:2"), BIG),
    (("--tmp=100",), ALL),
    (("--tmp=101",), BIG),
    (("--gres=fpga",), BIG),
    (("--gres=fpga:2",), BIG),
    (("--ntasks-per-node=2", "--cpus-per-task=2"), BIG),
    (("-n", "4", "-c", "1"), ALL),
    (("--core-spec=1",), ALL),
    (("--hint=nomultithread",), ALL),
)


@pytest.fixture(scope="module")
def booted() -> Iterator[DevCluster]:
    if PREFIX is None and (obstacle := missing()):
        pytest.skip(obstacle)
    with DevCluster(nodes=3, prefix=PREFIX, options=OPTIONS) as cluster:
        give_sizes(cluster)
        yield cluster


def give_sizes(cluster: DevCluster) -> None:
    """Make the nodes of different sizes: a line for each in slurm.conf, and new daemons."""
    text = cluster.conf.read_text()
    form = r"^NodeName=csx\[1-3\] (.*) Port=([0-9]+)-[0-9]+ CPUs=4 (.*)$"
    line = re.search(form, text, re.MULTILINE)
    assert line is not None
    lines = [
        f"NodeName={name} {line[1]} Port={int(line[2]) + number} {size} {line[3]}"
        for number, (name, size) in enumerate(
            zip(cluster.node_names, (LARGE, LARGE, SMALL), strict=True)
        )
    ]
    cluster.conf.write_text(text.replace(line[0], "\n".join(lines)))
    for name in cluster.node_names:
        cluster.fault("kill-slurmd", name)
    cluster.fault("kill-ctld")
    cluster.fault("start-ctld")
    for name in cluster.node_names:
        cluster.fault("start-slurmd", name)
    cluster.mend()


@pytest.fixture
def cluster(booted: DevCluster) -> Iterator[DevCluster]:
    yield booted
    for name in ("left", "right"):
        admin(booted, f"PartitionName={name}", "State=UP", "MaxNodes=UNLIMITED")
    booted.mend()


@pytest.fixture(scope="module")
def slurm(booted: DevCluster) -> Commands:
    return Commands(booted.bin_dir, booted.conf, timeout=PATIENCE)


def admin(cluster: DevCluster, *fields: str) -> None:
    cluster.run("scontrol", "update", *fields, as_root=True)


def node(slurm: Commands, name: str) -> NodeState:
    return {one.name: one for one in slurm.nodes()}[name]


def usable(slurm: Commands, job: Job) -> frozenset[str]:
    return build_pool(job, slurm.nodes(), (), None, slurm.partitions()).usable


def test_what_a_node_has(slurm: Commands, cluster: DevCluster) -> None:
    large, small = node(slurm, "csx2"), node(slurm, "csx3")
    assert (large.cpus, large.memory, large.tmp_disk, large.gres) == (4, 4000, 500, "fpga:2")
    assert (small.cpus, small.memory, small.tmp_disk, small.gres) == (2, 2000, 100, "")
    job_id = cluster.submit("true", "-w", "csx2", "-o", "/dev/null")
    cluster.await_state(job_id, "COMPLETED")
    ended = slurm.job(job_id).end_time
    assert ended is not None
    await_(lambda: (node(slurm, "csx2").last_busy or 0) >= ended, "the node is idle again")


def test_what_a_job_requests(slurm: Commands, cluster: DevCluster) -> None:
    options = ("--mincpus=3", "--mem=3000", "--tmp=200", "--gres=fpga:2")
    job = slurm.job(cluster.submit("true", "-H", *options))
    assert (job.min_cpus, job.min_memory, job.min_tmp_disk) == (3, 3000, 200)
    assert is_large_enough(job, node(slurm, "csx1"))
    for too_small in ({"cpus": 2}, {"memory": 2999}, {"tmp_disk": 199}, {"gres": "fpga:1"}):
        assert not is_large_enough(job, replace(node(slurm, "csx1"), **too_small)), too_small


@pytest.mark.parametrize(
    ("options", "fitting"), GRANTED, ids=[" ".join(options) for options, _ in GRANTED]
)
def test_slurm_grants_the_nodes_that_count_as_large_enough(
    slurm: Commands, cluster: DevCluster, options: tuple[str, ...], fitting: frozenset[str]
) -> None:
    """They count alike before the start, while the job runs and completes, and pending again."""
    size = len(fitting)
    job_id = cluster.submit("sleep 300", "-H", f"-N{size}", *options, "-o", "/dev/null")
    assert usable(slurm, slurm.job(job_id)) == fitting
    slurm.release_job(job_id)
    cluster.await_state(job_id, "RUNNING")
    job = slurm.job(job_id)
    assert {*job.nodes} == fitting
    assert usable(slurm, job) == fitting
    slurm.requeue(job_id)
    assert usable(slurm, slurm.job(job_id)) == fitting
    cluster.await_state(job_id, "PENDING")
    assert usable(slurm, slurm.job(job_id)) == fitting


@pytest.mark.parametrize(
    "options", [options for options, fitting in GRANTED if fitting == BIG], ids=" ".join
)
def test_slurm_never_grants_a_node_that_is_too_small(
    slurm: Commands, cluster: DevCluster, options: tuple[str, ...]
) -> None:
    answer = slurm.submit(
        str(cluster.script("true")), ["-N2", *options, "-D", str(cluster.work)], test_only=True
    )
    assert "csx[1-2]" in answer
    with pytest.raises(SlurmError, match=r"node configuration is not available"):
        slurm.submit(str(cluster.script("true")), ["-N3", *options], test_only=True)


def test_a_job_gets_nodes_of_one_partition(slurm: Commands, cluster: DevCluster) -> None:
    job_id = cluster.submit("sleep 300", "-H", "-N2", "-p", "left,right", "-o", "/dev/null")
    assert usable(slurm, slurm.job(job_id)) == {"csx2", "csx3"}
    slurm.update(job_id, {"NumNodes": "3-3", "NumCPUs": "3"})
    slurm.release_job(job_id)
    slurm.update(job_id, {"StartTime": "now"})
    cluster.run("scontrol", "ping")
    blocked = ("PartitionConfig", "PartitionNodeLimit", "BadConstraints", "Resources")
    await_(lambda: slurm.job(job_id).reason in blocked, "the scheduler has tried the job")
    assert slurm.job(job_id).state is JobState.PENDING
    slurm.update(job_id, {"NumNodes": "2-2", "NumCPUs": "2"})
    if slurm.job(job_id).held:  # BadConstraints: Slurm has set the priority to 0
        slurm.release_job(job_id)
    cluster.await_state(job_id, "RUNNING")
    job = slurm.job(job_id)
    # While it runs, Slurm shows only the partition that it runs in; pending again, all of them.
    assert (job.nodes, job.partitions) == (("csx2", "csx3"), ("right",))
    slurm.requeue(job_id)
    cluster.await_state(job_id, "PENDING")
    assert set(slurm.job(job_id).partitions) == {"left", "right"}


def test_state_and_limit_of_a_partition(slurm: Commands, cluster: DevCluster) -> None:
    job = slurm.job(cluster.submit("true", "-H", "-N1", "-p", "left,right"))
    shown = {partition.name: partition for partition in slurm.partitions()}
    assert (shown["right"].state, shown["right"].max_nodes, shown["right"].qos) == (
        "UP",
        None,
        None,
    )
    admin(cluster, "PartitionName=right", "MaxNodes=1")
    assert {partition.name: partition for partition in slurm.partitions()}["right"].max_nodes == 1
    assert len(usable(slurm, job)) == 1
    admin(cluster, "PartitionName=right", "MaxNodes=UNLIMITED", "State=DOWN")
    assert usable(slurm, job) == {"csx1"}
    waiting = cluster.submit("true", "-N1", "-p", "right", "-o", "/dev/null")
    cluster.await_reason(waiting, "PartitionDown")
    pool = build_pool(slurm.job(waiting), slurm.nodes(), (), None, slurm.partitions())
    assert (len(pool.usable), len(pool.idle)) == (2, 0)
    # It would start: DRAIN only refuses new jobs.
    cluster.run("scancel", str(waiting))
    admin(cluster, "PartitionName=right", "State=DRAIN")
    assert len(build_pool(job, slurm.nodes(), (), None, slurm.partitions()).idle) == 2


def test_nodes_of_a_hidden_partition_are_shown(slurm: Commands, cluster: DevCluster) -> None:
    admin(cluster, "PartitionName=main", "Hidden=YES")
    admin(cluster, "PartitionName=left", "Hidden=YES")
    try:
        assert len(slurm.nodes()) == 3
        assert {partition.name for partition in slurm.partitions()} == {"main", "left", "right"}
    finally:
        admin(cluster, "PartitionName=main", "Hidden=NO")
        admin(cluster, "PartitionName=left", "Hidden=NO")


def test_only_known_names_can_be_excluded(slurm: Commands, cluster: DevCluster) -> None:
    job_id = cluster.submit("true", "-H", "-N1")
    names = ("csx9", "csx1", "gone")
    with pytest.raises(SlurmError, match=r"[Ii]nvalid node name"):
        slurm.update(job_id, {"ExcNodeList": ",".join(names)})
    known = known_nodes(names, slurm.nodes())
    slurm.update(job_id, {"ExcNodeList": ",".join(known)})
    assert slurm.job(job_id).exc_nodes == ("csx1",)


def test_facts_of_the_cluster(slurm: Commands, cluster: DevCluster) -> None:
    facts = slurm.cluster_facts()
    assert facts == ClusterFacts(
        release=cluster.release,
        boot_time=facts.boot_time,
        requeue_delay=121,
        requeue_exit=frozenset({201, 202, 203, 205}),
        requeue_exit_hold=frozenset({210}),
        limits_enforced=False,
        kill_wait=1,
        slurm_user=facts.slurm_user,
        has_epilog=False,
    )
    assert f"SlurmUser={facts.slurm_user}\n" in cluster.conf.read_text()
    job_id = cluster.submit("sleep 300", "-o", "/dev/null")
    cluster.await_state(job_id, "RUNNING")
    job = slurm.job(job_id)
    assert facts.boot_time is not None
    assert job.start_time is not None
    assert facts.boot_time <= job.start_time
    assert slurm.node_limit(job) is None


@pytest.mark.parametrize(("code", "held"), [(202, False), (210, True)])
def test_exit_codes_that_slurm_requeues(
    slurm: Commands, cluster: DevCluster, code: int, held: bool
) -> None:
    job_id = cluster.submit(f"exit {code}", "-o", "/dev/null")
    await_(lambda: slurm.job(job_id).restarts == 1, "Slurm has requeued the job")
    # While held, squeue shows SPECIAL_EXIT instead of PENDING.
    cluster.await_state(job_id, "PENDING", "SPECIAL_EXIT")
    job = slurm.job(job_id)
    assert (job.state, job.restarts, job.held) == (JobState.PENDING, 1, held)
    assert [one.restarts for one in slurm.jobs() if one.job_id == job_id] == [1]
    if not held:
        assert job.submit_time is not None
        assert job.eligible_time is not None
        # The submit time is a second later if the attempt was submitted in the same second.
        delay = job.eligible_time - job.submit_time
        assert delay in (
            slurm.cluster_facts().requeue_delay,
            slurm.cluster_facts().requeue_delay - 1,
        )
