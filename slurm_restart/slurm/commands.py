"""The interface to Slurm through its own commands: all releases, and quick in a new process."""

import os
import re
from collections.abc import Mapping, Sequence

from slurm_restart.errors import NoJobIdError, SlurmError
from slurm_restart.slurm.error_messages import error_for, ignored_a_value
from slurm_restart.slurm.interface import JobName
from slurm_restart.slurm.process import Call, Completed, Interactive, Running, run, run_until
from slurm_restart.slurm.queries import Queries

NODES_TIMEOUT = 30.0
"""Seconds for a command on nodes of a job."""
_FIELD = re.compile(r"[A-Za-z]+")
_NAME = re.compile(r"[0-9]+(?:_[0-9]+)?", re.ASCII)
_SUBMITTED = re.compile(r"^([0-9]+)(?:;\S*)?$", re.MULTILINE)


class Commands(Queries):
    """Slurm's commands as the interface `Slurm`."""

    def update(self, job: JobName, fields: Mapping[str, str]) -> None:
        """Change fields of a job in one request; names in Slurm's spelling.

        A value may hold any text, because scontrol reads each argument as one field.
        """
        what = f"update job {_checked(job)}"
        for name in fields:
            if not _FIELD.fullmatch(name) or name.lower() == "jobid":
                raise SlurmError(f"{what}: not a field of a job: {name!r}")
        pairs = [f"{name}={value}" for name, value in fields.items()]
        if not pairs:
            return
        answer = self._run(what, "scontrol", "update", f"JobId={job}", *pairs)
        if ignored_a_value(answer):
            raise error_for(answer, what)

    def requeue(self, job: JobName) -> None:
        """Requeue a job. A job that is already pending is left unchanged, without an error."""
        try:
            self._run(f"requeue job {job}", "scontrol", "requeue", _checked(job))
        except SlurmError as error:
            if "Job is pending execution" not in error.stderr:
                raise

    def hold(self, job: JobName) -> None:
        """Hold a pending job."""
        self._run(f"hold job {job}", "scontrol", "hold", _checked(job))

    def release_job(self, job: JobName) -> None:
        """Release a held job."""
        self._run(f"release job {job}", "scontrol", "release", _checked(job))

    def cancel(self, job: JobName) -> None:
        """Cancel a job. A job that has already ended is no error."""
        # Without -v, scancel prints nothing about an unknown job, and exits with 0.
        answer = self._run(f"cancel job {job}", "scancel", "-v", _checked(job))
        if "Invalid job id specified" in answer.stderr:
            raise error_for(answer, f"cancel job {job}")

    def signal_steps(self, job_id: int, name: str) -> None:
        """Send a signal, named without SIG, to the tasks of a job's steps, not to its script."""
        what = f"signal the steps of job {job_id}"
        self._run(what, "scancel", f"--signal={name}", f"{job_id:d}")

    def run_on_nodes(self, job_id: int, nodes: Sequence[str], command: Sequence[str]) -> str:
        """Run a command once on each of these nodes of a running job; return what it printed.

        The step shares the job's resources and asks for none of its own.
        """
        call = self._on_nodes(job_id, nodes, "--gres=none", *command)
        answer = run(call.args, env=call.env, timeout=NODES_TIMEOUT)
        if answer.code != 0:
            raise error_for(answer, f"srun on {','.join(nodes)}")
        return answer.stdout

    def check_nodes(
        self, job_id: int, nodes: Sequence[str], command: Sequence[str], *, timeout: float
    ) -> Completed:
        """Run a command on these nodes as above; return what was printed until the deadline.

        The step sees the job's generic resources, and no node ends it for the others: neither one
        that ends (--wait, whose default is the site's) nor one that fails.

        Args:
            job_id: a running job.
            nodes: some of its nodes.
            command: program and arguments.
            timeout: seconds for all of it.
        """
        alone = ("--wait=0", "--kill-on-bad-exit=0")
        call = self._on_nodes(job_id, nodes, *alone, *command)
        return run_until(call.args, env=call.env, timeout=timeout)

    def start_on_nodes(
        self, job_id: int, nodes: Sequence[str], command: Sequence[str], *, timeout: float
    ) -> Interactive:
        """Start a command once on each of these nodes as above, and return srun at once.

        Its lines come as they are printed. Once srun has reached all nodes, an end of its input is
        the end of the command's on each of them.

        Args:
            job_id: a running job.
            nodes: some of its nodes.
            command: program and arguments.
            timeout: seconds after which srun is killed, if it has not ended.
        """
        call = self._on_nodes(job_id, nodes, "--gres=none", "--input=all", *command)
        return Interactive(call, timeout=timeout)

    def start_on_node(self, job_id: int, node: str, name: str, command: Sequence[str]) -> Running:
        """Start a command on a node of a running job, and return srun, which is not waited for.

        The step shares the job's resources and asks for none of its own.
        """
        return Running(
            self._on_nodes(job_id, [node], f"--job-name={name}", "--gres=none", *command)
        )

    def _on_nodes(self, job_id: int, nodes: Sequence[str], *arguments: str) -> Call:
        """Return srun with a step that shares the job's resources with all others."""
        count = len(nodes)
        return self._client.call(
            "srun",
            f"--jobid={job_id:d}",
            f"--nodelist={','.join(nodes)}",
            f"--nodes={count}-{count}",
            f"--ntasks={count}",
            "--ntasks-per-node=1",
            "--overlap",
            "--mem=0",
            "--cpu-bind=none",
            "--mpi=none",
            "--input=none",
            "--chdir=/",
            "--quiet",
            *arguments,
        )

    def submit(self, script: str, options: Sequence[str], *, test_only: bool = False) -> str:
        """Submit a script with sbatch, without a retry, in the caller's whole environment.

        Returns:
            The job id, or sbatch's answer to --test-only.

        Raises:
            SlurmUnavailableError: no answer, or (NoJobIdError) none with a job id; the job may have
                been submitted nevertheless.
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
            shown = f"sbatch: expected a job id, got {answer.stdout[:200]!r}"
            raise NoJobIdError(shown, stderr=answer.stderr)
        return match[1]


def _checked(job: JobName) -> str:
    """Return the name of one job as an argument."""
    name = str(job)
    if not _NAME.fullmatch(name):
        raise SlurmError(f"not the name of a job: {name!r}")
    return name
