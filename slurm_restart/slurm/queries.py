"""The questions to Slurm through its own commands: jobs, nodes, partitions, configuration."""

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, NodeState, PartitionState
from slurm_restart.errors import JobNotFoundError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm import parse
from slurm_restart.slurm.client import CommandClient
from slurm_restart.slurm.parse_config import cluster_facts, parse_config
from slurm_restart.slurm.parse_nodes import (
    parse_cluster_name,
    parse_nodes,
    parse_partitions,
    parse_release,
    parse_reservation,
)
from slurm_restart.slurm.parse_values import Base
from slurm_restart.slurm.process import Call, Completed, run

BASE_STATES_SINCE = (24, 11)
"""From this release on, Slurm shows the base state of a COMPLETING job."""
_TRIES = 4
"""How often parallel calls are made until they show a job at the same moment."""
_Answers = tuple[parse.Record, parse.Record | None, Base | None]
"""What the parallel calls show of one job."""
_SQUEUE = ("-h", "-a", "-t", "all", "--noconvert")


class Queries:
    """What `Slurm` answers, through Slurm's commands; `Commands` adds what changes jobs.

    Args:
        bin_dir: the directory of the commands; None: they are looked up in PATH.
        slurm_conf: path of slurm.conf; None: the environment's, else Slurm's default.
        timeout: seconds that one request may take.
        report: called with each line that sbatch prints to stderr (messages of the site).
    """

    def __init__(
        self,
        bin_dir: str | os.PathLike[str] | None = None,
        slurm_conf: str | os.PathLike[str] | None = None,
        timeout: float = 10.0,
        *,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._client = CommandClient(
            None if bin_dir is None else os.fspath(bin_dir),
            None if slurm_conf is None else os.fspath(slurm_conf),
            timeout,
        )
        self._report = report

    def cluster_name(self) -> str:
        """Return ClusterName of slurm.conf."""
        return parse_cluster_name(self._run("cluster name", "scontrol", "show", "config").stdout)

    def release(self) -> tuple[int, int]:
        """Return major and minor of the commands' release, such as (22, 5); read once."""
        return self._release

    @cached_property
    def _release(self) -> tuple[int, int]:
        return parse_release(self._run("version", "scontrol", "--version").stdout)

    def job(self, job_id: int) -> Job:
        """Return one job with every field; before 24.11 `state` is None while COMPLETING."""
        return self._read(job_id)[0]

    def job_end_facts(self, job_id: int) -> tuple[Job, tuple[NodeState, ...]]:
        """Return one job with every field, and all nodes; requested in parallel."""
        job, (nodes,) = self._read(job_id, self._show_all("node"))
        return job, parse_nodes(nodes.stdout)

    def jobs(self, *, uid: int | None = None) -> tuple[Job, ...]:
        """Return all jobs with the fields of `squeue -o` and `restarts`, by two parallel calls.

        admin_comment, requeue, exit_code, signal, eligible_time, preempt_time, std_out and what is
        requested of a node keep their defaults; `state` is None while COMPLETING; on 22.05 the
        num_nodes of a pending job that was scheduled before may be the former one. A job that
        changed between the two answers is read again by itself.
        """
        delimiter = _new_delimiter()
        of_user = () if uid is None else ("-u", str(uid))
        rows, counts = self._client.request(
            "jobs",
            self._squeue(*of_user, SQUEUE_FORMAT=parse.job_format(delimiter)),
            self._squeue(*of_user, SQUEUE_FORMAT2=parse.count_format(delimiter)),
        )
        records = parse.job_records(rows.stdout, delimiter)
        restarts = parse.restart_counts(records, parse.count_records(counts.stdout, delimiter))
        found = (
            self._job_if_known(int(record["job_id"]))
            if count is None
            else replace(parse.to_job(record), restarts=count)
            for record, count in zip(records, restarts, strict=True)
        )
        return tuple(job for job in found if job is not None and uid in (None, job.uid))

    def states(self, job_ids: Collection[int]) -> dict[int, tuple[str, int | None]]:
        """Return state (as squeue shows it) and SubmitTime of jobs, by one call.

        Jobs that Slurm does not know are left out.
        """
        named = ",".join(f"{job_id:d}" for job_id in job_ids)
        try:
            call = self._squeue("-j", named, "-o", "%A|%T|%V")
            (answer,) = self._client.request(f"jobs {named[:80]}", call)
        except JobNotFoundError:
            return {}
        found = parse.parse_states(answer.stdout)
        # The id of an array's last task is that of the array: Slurm shows all tasks then.
        return {job_id: state for job_id, state in found.items() if job_id in job_ids}

    def tasks(self, job_id: int) -> tuple[int, int] | None:
        """Return the tasks of a job, and those requested for each node (0: none); None: not shown.

        Without a request for tasks Slurm counts one a node.
        """
        call = self._squeue("-j", f"{job_id:d}", "-O", parse.TASKS_FORMAT)
        (answer,) = self._client.request(f"tasks of job {job_id}", call)
        return parse.parse_tasks(answer.stdout, job_id)

    def nodes(self) -> tuple[NodeState, ...]:
        """Return all nodes."""
        return parse_nodes(self._client.request("nodes", self._show_all("node"))[0].stdout)

    def nodes_named(self, names: Sequence[str]) -> tuple[NodeState, ...]:
        """Return these nodes; an unknown one is an error."""
        call = self._show_all("node", ",".join(names))
        return parse_nodes(self._client.request("nodes", call)[0].stdout)

    def partitions(self) -> tuple[PartitionState, ...]:
        """Return all partitions."""
        call = self._show_all("partition")
        return parse_partitions(self._client.request("partitions", call)[0].stdout)

    def others_wait(self, job: Job) -> bool:
        """Return whether other jobs wait for nodes of the partitions of a job, by one call."""
        states = ("-h", "-a", "-t", "PENDING", "-o", "%A|%r")
        of_partitions = ("-p", ",".join(job.partitions)) if job.partitions else ()
        call = self._client.call("squeue", *states, *of_partitions)
        (answer,) = self._client.request("pending jobs", call)
        return parse.waits_for_nodes(answer.stdout, but=job.job_id)

    def step_nodes(self, job_id: int) -> frozenset[str]:
        """Return the nodes on which Slurm shows steps of a running job, the script's included."""
        call = self._client.call("squeue", "-h", "-s", "-j", f"{job_id:d}", "-o", "%N")
        (answer,) = self._client.request(f"steps of job {job_id}", call)
        return frozenset(chain.from_iterable(map(expand, answer.stdout.split())))

    def node_limit(self, job: Job) -> int | None:
        """Return how many nodes the limits of association and QOS leave for a pending job.

        Those of nodes, CPUs and generic resources count. None: there is none of these.
        `ClusterFacts.limits_enforced` says whether Slurm enforces limits. A size that SlurmUser
        writes is not checked by Slurm against them.
        """
        # Not with the hook's imports: it has patterns to compile, and few sites need it.
        from slurm_restart.slurm.parse_limits import (  # noqa: PLC0415
            limited_by_format,
            nodes_left,
            parse_limited_by,
            used_of_each_node,
        )

        delimiter = _new_delimiter()
        squeue = self._squeue("-j", job.name, SQUEUE_FORMAT2=limited_by_format(delimiter))
        limits = self._client.call("scontrol", "show", "assoc_mgr", "-o", "flags=assoc,qos")
        all_of_both = self._show_all("partition"), self._show_all("node")
        shown, partitions, nodes, records = self._client.request(
            f"limits of job {job.job_id}", squeue, *all_of_both, limits
        )
        qos = [
            partition.qos
            for partition in parse_partitions(partitions.stdout)
            if partition.name in job.partitions and partition.qos is not None
        ]
        limited_by = parse_limited_by(shown.stdout, delimiter, qos)
        if limited_by is None:
            raise JobNotFoundError(f"job {job.job_id}: Slurm does not show it")
        used = used_of_each_node(job, parse_nodes(nodes.stdout), whole=limited_by.whole_nodes)
        return nodes_left(records.stdout, limited_by, used)

    def reservation_nodes(self, name: str) -> tuple[str, ...]:
        """Return the nodes of a reservation, or of several (`a,b`)."""
        show = ("show", "reservation", "-o")
        calls = [self._client.call("scontrol", *show, part) for part in name.split(",")]
        answers = self._client.request(f"reservation {name}", *calls)
        hostlists = (parse_reservation(answer.stdout) for answer in answers)
        return tuple(dict.fromkeys(node for hostlist in hostlists for node in expand(hostlist)))

    def script(self, job_id: int) -> Path | None:
        """Return the path of the batch script as submitted; None: it was read from stdin.

        A user wrote it: use it only to read files of the user who runs this process.
        """
        call = self._squeue("-j", str(job_id), "-o", "%o")
        # All tasks of an array, which their last one's job id names, have the same script.
        path = self._client.request(f"job {job_id}", call)[0].stdout.partition("\n")[0]
        return Path(path) if path.startswith("/") else None

    def config(self) -> dict[str, str]:
        """Return the settings of slurm.conf as the controller uses them."""
        return parse_config(self._run("configuration", "scontrol", "show", "config").stdout)

    def cluster_facts(self) -> ClusterFacts:
        """Return the facts of the controller's configuration, by one call."""
        return cluster_facts(self.config())

    def ping(self) -> bool:
        """Return whether the controller, or its backup, answers."""
        call = self._client.call("scontrol", "ping")
        try:
            answer = run(call.args, env=call.env, timeout=self._client.timeout)
        except SlurmUnavailableError:
            return False
        return " is UP" in answer.stdout

    def _run(self, what: str, name: str, *arguments: str) -> Completed:
        return self._client.request(what, self._client.call(name, *arguments))[0]

    def _show_all(self, *entity: str) -> Call:
        # Without SCONTROL_ALL, only root sees hidden partitions and their nodes.
        return self._client.call("scontrol", "show", *entity, "-o", SCONTROL_ALL="1")

    def _job_if_known(self, job_id: int) -> Job | None:
        with suppress(JobNotFoundError):
            return self.job(job_id)
        return None

    def _squeue(self, *arguments: str, **env: str) -> Call:
        # Without --noconvert, 1024 nodes are `1K`.
        return self._client.call("squeue", *_SQUEUE, *arguments, **env)

    def known_jobs(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Return jobs with every field, by as many calls as for one job.

        Jobs that Slurm does not know, that changed between the answers, or of which a value cannot
        be read, are left out.
        """
        try:
            found, _ = self._read_once(job_ids)
        except JobNotFoundError:
            return {}
        jobs: dict[int, Job] = {}
        for job_id, answers in found.items():
            with suppress(SlurmError):
                if (job := _to_job(answers)) is not None:
                    jobs[job_id] = job
        return jobs

    def _read(self, job_id: int, *others: Call) -> tuple[Job, tuple[Completed, ...]]:
        """Return a job, and the answers to other calls made in parallel."""
        for _ in range(_TRIES):
            found, answers = self._read_once([job_id], *others)
            if job_id not in found:
                raise JobNotFoundError(f"job {job_id}: Slurm does not show it")
            if (job := _to_job(found[job_id])) is not None:
                return job, answers
        raise SlurmError(
            f"job {job_id}: its state changed during each of {_TRIES} attempts to read it"
        )

    def _read_once(
        self, job_ids: Collection[int], *others: Call
    ) -> tuple[dict[int, _Answers], tuple[Completed, ...]]:
        """Return what each call shows of jobs, and the answers to other calls made in parallel."""
        has_base = self._release >= BASE_STATES_SINCE
        named = ",".join(f"{job_id:d}" for job_id in job_ids)
        delimiter = _new_delimiter()
        calls = [
            self._squeue("-j", named, SQUEUE_FORMAT=parse.job_format(delimiter)),
            self._squeue("-j", named, SQUEUE_FORMAT2=parse.detail_format(delimiter)),
        ]
        if has_base:
            calls.append(self._client.call("squeue", "-j", named, "--only-job-state", "--json"))
        what = f"job {named}" if len(job_ids) == 1 else f"jobs {named[:80]}"
        answers = self._client.request(what, *calls, *others)
        records = parse.job_records(answers[0].stdout, delimiter)
        details = parse.detail_records(answers[1].stdout, delimiter)
        bases = parse.parse_bases(answers[2].stdout) if has_base else {}
        found = {
            job_id: (record, parse.job_of(details, job_id), bases.get(job_id))
            for job_id in job_ids
            if (record := parse.job_of(records, job_id)) is not None
        }
        return found, answers[len(calls) :]


def _to_job(answers: _Answers) -> Job | None:
    """Return a job; None: the answers do not show it at the same moment."""
    record, detail, base = answers
    if detail is None or not parse.agree(record, detail, base):
        return None
    return parse.to_job(record, detail, base)


def _new_delimiter() -> str:
    """Return a text that ends each field, which the authors of the fields cannot know."""
    return f"~{os.urandom(8).hex()}~"
