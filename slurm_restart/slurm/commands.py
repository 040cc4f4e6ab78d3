"""The interface to Slurm through its own commands: all releases, and quick in a new process."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, NodeState
from slurm_restart.errors import JobNotFoundError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm import parse
from slurm_restart.slurm.client import CommandClient
from slurm_restart.slurm.error_messages import error_for, ignored_a_value
from slurm_restart.slurm.parse_config import cluster_facts, parse_config
from slurm_restart.slurm.parse_nodes import (
    parse_cluster_name,
    parse_nodes,
    parse_release,
    parse_reservation,
)
from slurm_restart.slurm.process import Call, Completed, run

BASE_STATES_SINCE = (24, 11)
"""From this release on, Slurm shows the base state of a COMPLETING job."""
_TRIES = 4
"""How often parallel calls are made until they show a job at the same moment."""
_SHOW_NODES = ("scontrol", "show", "node", "-o")
_SQUEUE = ("-h", "-a", "-t", "all", "--noconvert")
_FIELD = re.compile(r"[A-Za-z]+")
_SUBMITTED = re.compile(r"^([0-9]+)(?:;\S*)?$", re.MULTILINE)


class Commands:
    """Slurm's commands as the interface `Slurm`.

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

    # --- reading ---------------------------------------------------------------------------------

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
        job, (nodes,) = self._read(job_id, self._client.call(*_SHOW_NODES))
        return job, parse_nodes(nodes.stdout)

    def jobs(self, *, uid: int | None = None) -> tuple[Job, ...]:
        """Return all jobs with the fields of `squeue -o`, by one call.

        admin_comment, restarts, requeue, exit_code, signal, eligible_time, preempt_time and
        std_out keep their defaults; `state` is None while COMPLETING; on 22.05 the num_nodes of
        a pending job that was scheduled before may be the former one.
        """
        delimiter = _new_delimiter()
        of_user = () if uid is None else ("-u", str(uid))
        call = self._squeue(*of_user, SQUEUE_FORMAT=parse.job_format(delimiter))
        (answer,) = self._client.request("jobs", call)
        found = map(parse.to_job, parse.job_records(answer.stdout, delimiter))
        return tuple(job for job in found if uid in (None, job.uid))

    def nodes(self) -> tuple[NodeState, ...]:
        """Return all nodes."""
        return parse_nodes(self._run("nodes", *_SHOW_NODES).stdout)

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
        path = self._client.request(f"job {job_id}", call)[0].stdout.rstrip("\n")
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

    # --- changing --------------------------------------------------------------------------------

    def update(self, job_id: int, fields: Mapping[str, str]) -> None:
        """Change fields of a job in one request; names in Slurm's spelling.

        A value may hold any text, because scontrol reads each argument as one field.
        """
        for name in fields:
            if not _FIELD.fullmatch(name) or name.lower() == "jobid":
                raise SlurmError(f"update job {job_id}: not a field of a job: {name!r}")
        pairs = [f"{name}={value}" for name, value in fields.items()]
        if not pairs:
            return
        what = f"update job {job_id}"
        answer = self._run(what, "scontrol", "update", f"JobId={job_id:d}", *pairs)
        if ignored_a_value(answer):
            raise error_for(answer, what)

    def requeue(self, job_id: int) -> None:
        """Requeue a job. A job that is already pending is left unchanged, without an error."""
        try:
            self._run(f"requeue job {job_id}", "scontrol", "requeue", f"{job_id:d}")
        except SlurmError as error:
            if "Job is pending execution" not in error.stderr:
                raise

    def hold(self, job_id: int) -> None:
        """Hold a pending job."""
        self._run(f"hold job {job_id}", "scontrol", "hold", f"{job_id:d}")

    def release_job(self, job_id: int) -> None:
        """Release a held job."""
        self._run(f"release job {job_id}", "scontrol", "release", f"{job_id:d}")

    def cancel(self, job_id: int) -> None:
        """Cancel a job. A job that has already ended is no error."""
        # Without -v, scancel prints nothing about an unknown job, and exits with 0.
        answer = self._run(f"cancel job {job_id}", "scancel", "-v", f"{job_id:d}")
        if "Invalid job id specified" in answer.stderr:
            raise error_for(answer, f"cancel job {job_id}")

    def submit(self, script: str, options: Sequence[str], *, test_only: bool = False) -> str:
        """Submit a script with sbatch, without a retry, in the caller's whole environment.

        Returns:
            The job id, or sbatch's answer to --test-only.

        Raises:
            SlurmUnavailableError: no answer; the job may have been submitted nevertheless.
        """
        what = "--test-only" if test_only else "--parsable"
        answer = run(
            [self._client.program("sbatch"), what, *options, script],
            env=os.environ | self._client.configuration(),
            timeout=self._client.timeout,
        )
        if answer.code != 0:
            raise error_for(answer, "sbatch")
        if test_only:
            return answer.stderr.strip()
        if self._report is not None:
            for line in answer.stderr.splitlines():
                self._report(line)
        match = _SUBMITTED.search(answer.stdout)
        if match is None:
            raise SlurmError(f"sbatch: expected a job id, got {answer.stdout[:200]!r}")
        return match[1]

    # --- helpers ---------------------------------------------------------------------------------

    def _run(self, what: str, name: str, *arguments: str) -> Completed:
        return self._client.request(what, self._client.call(name, *arguments))[0]

    def _squeue(self, *arguments: str, **env: str) -> Call:
        # Without --noconvert, 1024 nodes are `1K`.
        return self._client.call("squeue", *_SQUEUE, *arguments, **env)

    def _read(self, job_id: int, *others: Call) -> tuple[Job, tuple[Completed, ...]]:
        """Return a job, and the answers to other calls made in parallel."""
        has_base = self._release >= BASE_STATES_SINCE
        only_state = ("-j", str(job_id), "--only-job-state", "--json")
        for _ in range(_TRIES):
            delimiter = _new_delimiter()
            calls = [
                self._squeue("-j", str(job_id), SQUEUE_FORMAT=parse.job_format(delimiter)),
                self._squeue("-j", str(job_id), SQUEUE_FORMAT2=parse.detail_format(delimiter)),
                *([self._client.call("squeue", *only_state)] if has_base else []),
            ]
            answers = self._client.request(f"job {job_id}", *calls, *others)
            rows, details = (answer.stdout for answer in answers[:2])
            record = parse.job_of(parse.job_records(rows, delimiter), job_id)
            detail = parse.job_of(parse.detail_records(details, delimiter), job_id)
            base = parse.parse_base(answers[2].stdout, job_id) if has_base else None
            if record is None:
                raise JobNotFoundError(f"job {job_id}: Slurm does not show it")
            if detail is not None and parse.agree(record, detail, base):
                return parse.to_job(record, detail, base), answers[len(calls) :]
        raise SlurmError(
            f"job {job_id}: its state changed during each of {_TRIES} attempts to read it"
        )


def _new_delimiter() -> str:
    """Return a text that ends each field, which the authors of the fields cannot know."""
    return f"~{os.urandom(8).hex()}~"
