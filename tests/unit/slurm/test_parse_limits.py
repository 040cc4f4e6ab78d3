"""What associations and QOS leave of nodes, from `scontrol show assoc_mgr -o`."""

from dataclasses import replace

import pytest

from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.parse_limits import (
    LimitedBy,
    limited_by_format,
    nodes_left,
    parse_limited_by,
    used_of_each_node,
)

JOB = LimitedBy(association="4", account="physics", uid=1000, qos=("normal", "main-limits"))


def tres(name: str, node: str, *, used: bool = True) -> str:
    """A line of limits, in the form of 22.05 and 26.05."""
    if not used:
        return f"{name}={'' if node == 'N' else f'node={node}'}"
    return f"{name}=cpu=N(4),mem=N(2),energy=N(0),node={node},billing=N(4),gres/gpu=N(0)"


def association(
    number: int, parent: str, *, node: str = "N(2)", each: str = "N", user: str = ""
) -> str:
    account = "physics" if user else {1: "root", 3: "physics"}.get(number, "chem")
    return (
        f"ClusterName=alps Account={account} UserName={user} Partition= Priority=0 ID={number} "
        "SharesRaw/Norm/Level/Factor=1/0.50/1/0.00 UsageRaw/Norm/Efctv=0.00/0.00/0.00 "
        f"ParentAccount={parent} Lft=2 DefAssoc=No GrpJobs=N(1) GrpJobsAccrue=N(0) "
        f"GrpSubmitJobs=N(1) GrpWall=N(0.00) {tres('GrpTRES', node)} "
        f"{tres('GrpTRESMins', 'N(9)')} {tres('GrpTRESRunMins', 'N(9)')} MaxJobs= MaxJobsAccrue= "
        f"MaxSubmitJobs= MaxWallPJ= {tres('MaxTRESPJ', each, used=False)} MaxTRESPN= "
        "MaxTRESMinsPJ= MinPrioThresh="
    )


def qos(
    name: str,
    *,
    node: str = "N(2)",
    each: str = "N",
    users: str = "No Users",
    accounts: str = "No Accounts",
) -> str:
    return (
        f"QOS={name}(1) UsageRaw=0.000000 GrpJobs=N(1) GrpJobsAccrue=N(0) GrpSubmitJobs=N(1) "
        f"GrpWall=N(0.00) {tres('GrpTRES', node)} {tres('GrpTRESMins', 'N(9)')} "
        f"{tres('GrpTRESRunMins', 'N(9)')} MaxWallPJ= {tres('MaxTRESPJ', each, used=False)} "
        "MaxTRESPN= MaxTRESMinsPJ= MinPrioThresh=  MinTRESPJ= PreemptMode=OFF Priority=0 "
        f"Account Limits={accounts} User Limits={users}"
    )


def left(*lines: str, job: LimitedBy = JOB, **used: int) -> int | None:
    head = ("Current Association Manager state", "Association Records")
    names = {"node": 1} | {name.replace("_", "/"): count for name, count in used.items()}
    return nodes_left("\n".join((*head, *lines, "")), job, names)


PLAIN = (
    association(1, ""),
    association(3, "root(1)"),
    association(4, "", user="alice(1000)"),
    qos("normal"),
)


def test_no_limit() -> None:
    assert left(*PLAIN) is None
    assert left("No associations currently cached in Slurm.") is None


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({4: "8(2)"}, 6),
        ({3: "8(2)"}, 6),
        ({1: "8(2)", 3: "4(1)", 4: "9(0)"}, 3),
        ({4: "2(5)"}, 0),
        ({9: "1(0)"}, None),
    ],
)
def test_the_whole_chain_of_associations_counts(
    limits: dict[int, str], expected: int | None
) -> None:
    parents = {1: "", 3: "root(1)", 4: "", 9: "root(1)"}
    users = {4: "alice(1000)"}
    lines = [
        association(n, parents[n], node=limits.get(n, "N(2)"), user=users.get(n, ""))
        for n in parents
    ]
    assert left(*lines, qos("normal")) == expected


def test_limits_for_each_job() -> None:
    own = association(4, "", each="3", user="alice(1000)")
    assert left(association(3, "root(1)", each="2"), own, qos("normal")) == 3
    assert left(own, qos("normal", each="5")) == 5


def test_a_qos_takes_the_place_of_associations() -> None:
    own = association(4, "", node="4(0)", user="alice(1000)")
    assert left(own, qos("normal", node="9(1)")) == 8
    assert left(own, qos("other", node="9(1)")) == 4
    assert left(own, qos("normal", node="9(1)"), qos("main-limits", node="3(1)")) == 2


def form(limit: str, node: str) -> str:
    kind = limit[-2:]
    return (
        f"={{MaxJobs{kind}=N(1) MaxJobsAccrue{kind}=N(0) MaxSubmitJobs{kind}=N(1) "
        f"{tres(limit, node)}}}"
    )


@pytest.mark.parametrize("name", ["1000", "alice(1000)"])
def test_limits_of_a_user_and_an_account_in_a_qos(name: str) -> None:
    others = f" 10001{form('MaxTRESPU', '1(1)')} bob(100){form('MaxTRESPU', '1(1)')}"
    of_user = qos("normal", users=f"{others} {name}{form('MaxTRESPU', '6(2)')}")
    of_account = qos(
        "normal", accounts=f" chem{form('MaxTRESPA', '1(1)')} physics" + form("MaxTRESPA", "7(2)")
    )
    assert left(*PLAIN[:3], of_user) == 4
    assert left(*PLAIN[:3], of_account) == 5
    assert left(*PLAIN[:3], qos("normal", users=others)) is None


def limited(record: str, name: str, value: str) -> str:
    """A record whose GrpTRES limits something else than nodes."""
    before, group, after = record.partition(" GrpTRES=")
    return before + group + after.replace(f"{name}=N(", f"{name}={value}(", 1)


def test_limits_of_what_comes_with_the_nodes() -> None:
    """Slurm takes the CPUs that SlurmUser writes with the nodes for an administrator's too."""
    account = limited(association(3, "root(1)"), "cpu", "16")  # 4 are used
    own = association(4, "", user="alice(1000)")
    assert left(account, own, qos("normal")) is None
    assert left(account, own, qos("normal"), cpu=2) == 6
    assert left(account, own, qos("normal"), cpu=5) == 2
    gpus = limited(account, "gres/gpu", "8")
    assert left(gpus, own, qos("normal"), cpu=2, gres_gpu=4) == 2
    # A QOS's limit takes the place of the associations' for this one TRES.
    assert left(gpus, own, limited(qos("normal"), "cpu", "99"), cpu=2, gres_gpu=4) == 2
    assert left(account, own, limited(qos("normal"), "cpu", "99"), cpu=2) == 47


SMALL = NodeState(name="a", state="IDLE", partitions=frozenset({"main"}), cpus=2, gres="gpu:2")
LARGE = replace(SMALL, name="b", cpus=4, gres="gpu:a100:4(S:0-1),fpga:1")
OTHER = replace(LARGE, name="c", cpus=64, partitions=frozenset({"other"}))


def test_what_a_job_uses_of_each_node() -> None:
    job = Job(job_id=7, uid=1, state=JobState.PENDING, partitions=("main",), min_cpus=1)
    nodes = (SMALL, LARGE, OTHER)
    assert used_of_each_node(job, nodes, whole=True) == {
        "node": 1, "cpu": 4, "gres/gpu": 4, "gres/gpu:a100": 4, "gres/fpga": 1,
    }  # fmt: skip
    assert used_of_each_node(job, nodes, whole=False) == {"node": 1, "cpu": 1}
    larger = replace(job, min_cpus=3)
    assert used_of_each_node(larger, (SMALL,), whole=True) == {"node": 1, "cpu": 3}


def test_what_limits_a_job() -> None:
    fields = ("associd:20", "account:256", "userid:20", "qos:256", "oversubscribe:20")
    assert limited_by_format("~d~") == ",".join(f"{field}~d~" for field in fields)
    shown = "4   ~d~physics  ~d~1000 ~d~normal  ~d~NO ~d~\n"
    found = parse_limited_by(shown, "~d~", ["main-limits"])
    assert found == JOB
    shared = parse_limited_by(shown.replace("NO", "OK"), "~d~", ["main-limits"])
    assert shared == replace(JOB, whole_nodes=False)
    assert parse_limited_by("\n", "~d~", []) is None
    with pytest.raises(SlurmError, match="expected 5 fields"):
        parse_limited_by("something else", "~d~", [])
