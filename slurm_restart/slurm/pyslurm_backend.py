"""Slurm's commands, except that lists of jobs and nodes are requested through pyslurm.

For processes that live long enough to import pyslurm once and ask often. pyslurm holds Python's
global lock while it waits for the controller, and some calls crash the process; so it runs in a
child process, which is killed when it does not answer in time.

What stays with the commands, because pyslurm 25.11.2 is worse at it (measured): one job (it shows
exit code 137 as 9, and no base state of a COMPLETING job), the Gres of nodes (it leaves out counts
that are multiples of 1024), `ping` (it asks the primary controller alone), `update` (its modify
ignores a number of nodes and cannot clear a field), `hold` (with a mode it crashes), sbatch and
scancel. Requests that change a job are rare, and with the commands alone their error messages are
the same everywhere.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from slurm_restart.core.job import Job, NodeState
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm import pyslurm_facts
from slurm_restart.slurm.commands import Commands

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_UNAVAILABLE = frozenset({*range(1001, 1005), *range(1800, 1806), 2027, 5004})
"""Error numbers of a controller that does not answer (slurm_errno.h)."""


class _PyslurmError(Exception):
    """pyslurm cannot answer although the controller may be well."""


class PyslurmBackend(Commands):
    """pyslurm for `jobs` and `nodes`; Slurm's commands for all else.

    Where pyslurm fails for another reason than a controller that does not answer (it cannot be
    imported, it crashes, the cluster has been upgraded), the commands answer from then on.

    Args:
        bin_dir: the directory of the commands; None: they are looked up in PATH.
        slurm_conf: path of slurm.conf; None: the environment's, else Slurm's default.
        timeout: seconds that one request may take.
        report: called with one line when pyslurm is given up.
    """

    def __init__(
        self,
        bin_dir: str | os.PathLike[str] | None = None,
        slurm_conf: str | os.PathLike[str] | None = None,
        timeout: float = 10.0,
        *,
        report: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(bin_dir, slurm_conf, timeout, report=report)
        self._slurm_conf = None if slurm_conf is None else os.fspath(slurm_conf)
        self._timeout = timeout
        self._child: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._is_given_up = False
        self._gres: dict[str, str | None] = {}
        self._gres_read_at: tuple[tuple[str, int | None], ...] | None = None
        """Nodes and start times of their slurmds when `_gres` was read."""

    def jobs(self, *, uid: int | None = None) -> tuple[Job, ...]:
        """Return all jobs.

        exit_code, signal, std_out and what is requested of a node keep their defaults; `state` is
        None while COMPLETING.
        """
        if not self._is_given_up:
            try:
                found: tuple[Job | int, ...] = self._request("jobs", uid)
            except _PyslurmError as error:
                self._give_up(error)
            else:
                jobs = (self._job_if_known(job) if isinstance(job, int) else job for job in found)
                return tuple(job for job in jobs if job is not None)
        return super().jobs(uid=uid)

    def nodes(self) -> tuple[NodeState, ...]:
        """Return all nodes; their Gres are read with scontrol when a slurmd has been started."""
        if not self._is_given_up:
            found: tuple[NodeState, ...]
            try:
                found, slurmds = self._request("nodes")
            except _PyslurmError as error:
                self._give_up(error)
            else:
                return self._with_gres(found, slurmds)
        return super().nodes()

    def _with_gres(
        self, nodes: tuple[NodeState, ...], slurmds: tuple[int | None, ...]
    ) -> tuple[NodeState, ...]:
        # Slurm takes a change of Gres= in slurm.conf with the start of the slurmd.
        read_at = tuple((node.name, start) for node, start in zip(nodes, slurmds, strict=True))
        if read_at != self._gres_read_at:
            self._gres = {node.name: node.gres for node in super().nodes()}
            self._gres_read_at = read_at
        return tuple(replace(node, gres=self._gres.get(node.name)) for node in nodes)

    def close(self) -> None:
        """End the child process, if there is one; the next request starts another."""
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()
            self._child.join()
        self._child = self._pipe = None

    def _give_up(self, error: _PyslurmError) -> None:
        self._is_given_up = True
        self.close()
        if self._report is not None:
            self._report(f"pyslurm: {error}; Slurm's commands are used from now on")

    def _request(self, question: str, argument: int | None = None) -> Any:
        """Return the child's answer.

        Raises:
            SlurmUnavailableError: the controller does not answer.
            _PyslurmError: anything else went wrong.
        """
        try:
            pipe = self._pipe or self._start()
            pipe.send((question, argument))
            if not pipe.poll(self._timeout):
                self.close()
                raise SlurmUnavailableError(f"{question}: no answer within {self._timeout:g} s")
            answer, number, text = pipe.recv()
        except (EOFError, OSError) as error:
            self.close()
            raise _PyslurmError(f"{question}: its process crashed") from error
        if number is None:
            return answer
        if number in _UNAVAILABLE:
            raise SlurmUnavailableError(f"{question}: {text}", stderr=text)
        raise _PyslurmError(f"{question}: {text}")

    def _start(self) -> Connection:
        # fork: the parent has no threads, and nothing of pyslurm is in it.
        context = multiprocessing.get_context("fork")
        self._pipe, child_end = context.Pipe()
        arguments = (child_end, self._pipe, self._slurm_conf)
        self._child = context.Process(target=_serve, args=arguments, daemon=True)
        self._child.start()
        child_end.close()
        return self._pipe


def _serve(pipe: Connection, parent_end: Connection, slurm_conf: str | None) -> None:
    """Answer requests until the parent closes its end of the pipe or dies."""
    parent_end.close()
    _release_files(pipe.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if slurm_conf is not None:
        os.environ["SLURM_CONF"] = slurm_conf
    while True:
        try:
            question, argument = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((pyslurm_facts.answer(question, argument), None, ""))
        except Exception as error:  # noqa: BLE001 - sent to the parent, which falls back
            number = getattr(error, "errno", None) or -1
            pipe.send((None, number, f"{type(error).__name__}: {error}"))


def _release_files(keep: int) -> None:
    """Give up all files of the parent but `keep`, stdin, stdout and stderr.

    A file that the parent has locked would stay locked after the parent has closed it. Its number
    stays taken, so that no object of the parent's closes another file when it is deleted here.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names of numbers, not of files
        if (number := int(name)) > 2 and number not in (keep, null):  # noqa: PLR2004 - stderr
            os.dup2(null, number, inheritable=False)
