"""Parse `scontrol show assoc_mgr -o`: how many nodes associations and QOS leave for a job.

Limits of nodes, CPUs and generic resources count: what SlurmUser writes changes the job's nodes and
CPUs, and with them the generic resources, which Slurm takes for granted then. The values of a limit
are printed as `limit(used)`, with N for no limit; a limit for each job has no used part. A QOS's
own limit takes the place of the associations' (acct_policy.c in slurmctld).
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.node_fit import count_gres, is_large_enough
from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen

_FIELDS = ("associd:20", "account:256", "userid:20", "qos:256", "oversubscribe:20")
_WHOLE_NODES = "NO"
_ASSOCIATION = re.compile(
    r"^ClusterName=\S* Account=(\S*) UserName=(\S*) .*?ID=([0-9]+) (.*)$", re.MULTILINE
)
_PARENT = re.compile(r"ParentAccount=\S*\(([0-9]+)\) ")
_QOS = re.compile(r"^QOS=(\S+)\([0-9]+\) (.*)$", re.MULTILINE)
_GROUP = re.compile(r"(?:^| )GrpTRES=(\S*)")
_EACH_JOB = re.compile(r"(?:^| )MaxTRESPJ=(\S*)")
_USERS = re.compile(r" User Limits=(.*)$")
_ACCOUNTS = re.compile(r" Account Limits=(.*?) User Limits=")


@frozen
class LimitedBy:
    """What determines the limits of a job, as squeue shows it."""

    association: str
    """The association's id."""
    account: str
    uid: int
    qos: tuple[str, ...]
    """The job's QOS and those of its partitions."""
    whole_nodes: bool = True
    """Whether the job gets all CPUs and generic resources of its nodes (--exclusive)."""


def limited_by_format(delimiter: str) -> str:
    """Return SQUEUE_FORMAT2 for `parse_limited_by`; `delimiter` must not begin with a digit."""
    return ",".join(f"{field}{delimiter}" for field in _FIELDS)


def parse_limited_by(text: str, delimiter: str, partition_qos: Iterable[str]) -> LimitedBy | None:
    """Return what squeue printed of one job with `limited_by_format`; None: no such job.

    Args:
        text: the answer.
        delimiter: that of the format.
        partition_qos: the QOS of the job's partitions.

    Raises:
        SlurmError: the answer has another form.
    """
    if not text.strip():
        return None
    fields = [field.strip() for field in text.split(delimiter)]
    if len(fields) != len(_FIELDS) + 1 or not fields[2].isdecimal():
        raise SlurmError(f"squeue: expected {len(_FIELDS)} fields of a job, got {text[:200]!r}")
    association, account, uid, qos, shares, _ = fields
    return LimitedBy(
        association=association,
        account=account,
        uid=int(uid),
        qos=(qos, *partition_qos),
        whole_nodes=shares == _WHOLE_NODES,
    )


def used_of_each_node(job: Job, nodes: Iterable[NodeState], *, whole: bool) -> dict[str, int]:
    """Return how much of each TRES a job uses on a node; the most where its nodes differ.

    Args:
        job: its partitions and requests count.
        nodes: all nodes of the cluster.
        whole: whether it gets all of each node. If not, its CPUs are at least those that it
            requests of a node, and its generic resources are left to Slurm.
    """
    used = {"node": 1, "cpu": job.min_cpus or 1}
    for node in nodes if whole else ():
        if node.partitions.intersection(job.partitions) and is_large_enough(job, node):
            counts = {"cpu": node.cpus or 0, **count_gres(node.gres or "")}
            used.update({name: max(used.get(name, 0), count) for name, count in counts.items()})
    return used


def nodes_left(text: str, job: LimitedBy, used: Mapping[str, int]) -> int | None:
    """Return how many nodes the limits leave for a pending job; None: no limit concerns them.

    Args:
        text: what `scontrol show assoc_mgr -o` printed.
        job: what determines the job's limits.
        used: how much of each TRES the job uses on a node.
    """
    chain = list(_chain(text, job.association))
    qos = [match[2] for match in _QOS.finditer(text) if match[1] in job.qos]
    of_user = _limit_of(str(job.uid), "MaxTRESPU"), _part(_USERS, qos)
    of_account = _limit_of(job.account, "MaxTRESPA"), _part(_ACCOUNTS, qos)
    left: list[int] = []
    for name, amount in used.items():
        if amount > 0:
            tres = re.compile(rf"(?:^|,){re.escape(name)}=([0-9]+)(?:\(([0-9]+)\))?(?=,|$)")
            group = _left(tres, _GROUP, qos) or _left(tres, _GROUP, chain)
            # An association's limit for each job holds the inherited value already.
            each_job = _left(tres, _EACH_JOB, qos) or _left(tres, _EACH_JOB, chain[:1])
            others = (*_left(tres, *of_user), *_left(tres, *of_account))
            left += [count // amount for count in (*group, *each_job, *others)]
    return min(left, default=None)


def _chain(text: str, association: str) -> Iterator[str]:
    """Return the limits of an association and of those above it, nearest first.

    The record of an account names its parent's; that of a user has only the account's name.
    """
    found = _ASSOCIATION.findall(text)
    records = {number: (account, user, limits) for account, user, number, limits in found}
    accounts = {account: number for account, user, number, _ in found if not user}
    while (record := records.pop(association, None)) is not None:
        account, user, limits = record
        yield limits
        parent = _PARENT.search(limits)
        association = accounts.get(account, "") if user else parent[1] if parent else ""


def _part(section: re.Pattern[str], records: Iterable[str]) -> list[str]:
    return [found[1] for record in records if (found := section.search(record))]


def _limit_of(name: str, limit: str) -> re.Pattern[str]:
    """Return the pattern of one user's limit: `1000={…}` on 22.05, `alice(1000)={…}` on 26.05."""
    return re.compile(rf"(?:^|[\s(}}]){re.escape(name)}\)?={{[^}}]*{limit}=([^\s}}]*)")


def _left(tres: re.Pattern[str], limit: re.Pattern[str], records: Iterable[str]) -> list[int]:
    """Return what is left of each limit of a TRES that is set."""
    found = (limit.search(record) for record in records)
    counts = (tres.search(match[1]) for match in found if match is not None)
    return [max(0, int(match[1]) - int(match[2] or 0)) for match in counts if match is not None]
