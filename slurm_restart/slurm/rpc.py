"""The port to Slurm over pyslurm, for commands that live long enough to load it.

pyslurm holds Python's lock while it waits for the controller, and some wrong arguments crash it; so
it runs in a child process, which is killed when it does not answer in time.

Left to Slurm's commands: `job` (pyslurm shows exit code 137 as 9, and no base state of a COMPLETING
job), `update` (its modify ignores a number of nodes and cannot clear a field), `submit` (a person's
options, SBATCH_* variables and the site's filters are sbatch's own), `cancel` (it says nothing of a
job that Slurm does not know) and reservations.
"""

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from slurm_restart.core.job import Job, NodeState
from slurm_restart.errors import JobNotFoundError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm import rpc_facts
from slurm_restart.slurm.commands import Commands

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

# Slurm's own numbers of errors (slurm_errno.h).
_UNKNOWN_JOB, _PENDING = 2017, 2024
_UNAVAILABLE = frozenset({*range(1001, 1005), *range(1800, 1806), 2027, 5004})


def pyslurm_release() -> tuple[int, int] | None:
    """The release of Slurm that the installed pyslurm is for; None: there is no pyslurm."""
    if util.find_spec("pyslurm") is None:
        return None
    year, month, *_ = metadata.version("pyslurm").split(".")
    return int(year), int(month)


class Rpc:
    """pyslurm as the port `Slurm`.

    Args:
        commands: what is used where pyslurm will not do.
        slurm_conf: path of slurm.conf; None: as the environment or Slurm's default has it.
        timeout: seconds that one request may take.
    """

    def __init__(
        self,
        commands: Commands,
        slurm_conf: str | os.PathLike[str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._commands = commands
        self._slurm_conf = None if slurm_conf is None else os.fspath(slurm_conf)
        self._timeout = timeout
        self._child: BaseProcess | None = None
        self._pipe: Connection | None = None

    # --- by pyslurm ------------------------------------------------------------------------------

    def cluster_name(self) -> str:
        """ClusterName of slurm.conf."""
        return str(self._ask("cluster_name"))

    def jobs(self, *, uid: int | None = None) -> tuple[Job, ...]:
        """All jobs; exit_code and signal keep their defaults, `state` is None while COMPLETING."""
        found: tuple[Job, ...] = self._ask("jobs", uid)
        return found

    def nodes(self) -> tuple[NodeState, ...]:
        """All nodes."""
        found: tuple[NodeState, ...] = self._ask("nodes")
        return found

    def requeue(self, job_id: int) -> None:
        """Requeue; a job that is pending already is left as it is, without an error."""
        self._ask("requeue", job_id)

    def hold(self, job_id: int) -> None:
        """Hold a pending job."""
        self._ask("hold", job_id)

    def release_job(self, job_id: int) -> None:
        """Release a held job."""
        self._ask("release", job_id)

    def ping(self) -> bool:
        """Whether the controller answers."""
        try:
            return bool(self._ask("ping"))
        except SlurmUnavailableError:
            return False

    # --- by Slurm's commands ---------------------------------------------------------------------

    def release(self) -> tuple[int, int]:
        """Release of the commands, such as (25, 11)."""
        return self._commands.release()

    def job(self, job_id: int) -> Job:
        """One job with every field; see `Commands.job`."""
        return self._commands.job(job_id)

    def reservation_nodes(self, name: str) -> tuple[str, ...]:
        """The nodes of a reservation, or of several (`a,b`)."""
        return self._commands.reservation_nodes(name)

    def update(self, job_id: int, fields: Mapping[str, str]) -> None:
        """Change fields of a job, in Slurm's spelling."""
        self._commands.update(job_id, fields)

    def cancel(self, job_id: int) -> None:
        """Cancel; a job that has ended already is no error."""
        self._commands.cancel(job_id)

    def submit(self, script: str, options: Sequence[str], *, test_only: bool = False) -> str:
        """Hand the path of a script to sbatch; see `Commands.submit`."""
        return self._commands.submit(script, options, test_only=test_only)

    # --- the child -------------------------------------------------------------------------------

    def close(self) -> None:
        """End the child, if there is one; the next request starts another."""
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()
            self._child.join()
        self._child = self._pipe = None

    def _ask(self, question: str, argument: int | None = None) -> Any:
        pipe = self._pipe or self._start()
        what = question if argument is None else f"{question} {argument}"
        try:
            pipe.send((question, argument))
            if not pipe.poll(self._timeout):
                self.close()
                raise SlurmUnavailableError(f"{what}: no answer within {self._timeout:g} s")
            answer, number, text = pipe.recv()
        except (EOFError, OSError) as error:
            self.close()
            raise SlurmError(f"{what}: pyslurm crashed") from error
        if number is None:
            return answer
        if question == "requeue" and number == _PENDING:
            return None
        raise _error(number)(f"{what}: {text}", stderr=text)

    def _start(self) -> Connection:
        # fork: the parent has no threads, and nothing of pyslurm is in it.
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self._pipe, self._slurm_conf)
        self._child = context.Process(target=_serve, args=arguments, daemon=True)
        self._child.start()
        theirs.close()
        return self._pipe


def _error(number: int) -> type[SlurmError]:
    if number == _UNKNOWN_JOB:
        return JobNotFoundError
    return SlurmUnavailableError if number in _UNAVAILABLE else SlurmError


def _serve(pipe: Connection, parents: Connection, slurm_conf: str | None) -> None:
    """Answer requests until the parent closes its end, or dies."""
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if slurm_conf is not None:
        os.environ["SLURM_CONF"] = slurm_conf
    while True:
        try:
            question, argument = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((rpc_facts.ask(question, argument), None, ""))
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to hear of it
            pipe.send((None, getattr(error, "errno", None) or -1, f"{error}"))
