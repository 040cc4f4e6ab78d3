"""Before an attempt starts, end what earlier attempts of the run have left on its nodes."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from slurm_restart.errors import SlurmError
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.child_process import ROOT
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.orphans import AttemptMark, end_orphans
from slurm_restart.supervise.silent_nodes import silent_nodes
from slurm_restart.trainer.rundir import AttemptDir, RunDir

_CODE = """
import sys
sys.path.append(sys.argv.pop(1))
from slurm_restart.supervise.orphans import main
main()
"""


def sweep_nodes(
    run_dir: RunDir,
    attempt: AttemptDir,
    job: JobEnvironment,
    slurm: Callable[[], Slurm],
    warn: Callable[[str], None],
) -> None:
    """End processes of earlier attempts on all nodes of this one where they can be.

    This node is always looked at; others only where an attempt ran whose supervisor did not record
    its end: otherwise Slurm has ended all its steps. After a restart in place it has not, not on
    nodes of the job either that the attempt does not use; one of these may be dead.

    Args:
        run_dir: the phase's directory.
        attempt: the attempt that is about to start.
        job: its allocation.
        slurm: returns the cluster.
        warn: called with a line about each node on which there were processes.

    Raises:
        OSError: the records of earlier attempts cannot be listed.
        RuntimeError: after a restart in place, a node of the attempt could not be looked at.
    """
    earlier = [other for other in run_dir.attempts() if other.number < attempt.number]
    if not earlier:
        return
    lost = _nodes_of_lost(earlier)
    # After a restart in place no job step has been ended by Slurm, on no node of the job.
    others = [
        node
        for node in (_still_held(job, slurm) if job.in_place else job.nodes)
        if (job.in_place or node in lost) and node != job.node_name
    ]
    if others and job.job_id is not None:
        arguments = [ROOT, str(run_dir.path), str(attempt.number), str(job.job_id)]
        command = [sys.executable, "-I", "-c", _CODE, *arguments]
        for line in _sweep_others(job, others, command, slurm, warn):
            node, _, count = line.partition(" ")
            warn(_format(node, count))
    mark = AttemptMark(run_dir=str(run_dir.path), attempt=attempt.number, job_id=job.job_id)
    if count_here := end_orphans(mark):
        warn(_format(job.node_name or "this node", str(count_here)))
    if gone := sorted(_nodes_of_lost(earlier[-1:]) - set(job.nodes)):
        warn(
            f"attempt {earlier[-1].number} has no end record, and {format_hostlist(gone)} is not "
            "among the nodes of this one: if it still runs, its processes there may go on writing"
        )


def _sweep_others(
    job: JobEnvironment,
    others: Sequence[str],
    command: Sequence[str],
    slurm: Callable[[], Slurm],
    warn: Callable[[str], None],
) -> Sequence[str]:
    """Return what the command prints on other nodes than this one, as far as they answer.

    Raises:
        RuntimeError: after a restart in place, a node of the attempt does not.
    """
    names = others
    with suppress(SlurmError):
        unused = [node for node in others if node not in job.nodes]
        if silent := silent_nodes(unused, slurm()):
            warn(_not_known(silent, "Slurm: no response, or DOWN"))
            names = [node for node in others if node not in silent]
    if not names:
        return ()
    needed = [node for node in names if node in job.nodes]
    try:
        return _run_on_nodes(job, names, command, slurm).splitlines()
    except SlurmError as error:
        if job.in_place and needed == names:
            raise RuntimeError(_not_known(names, str(error))) from error
        rest = [node for node in names if node not in needed]
        warn(_not_known(rest or names, str(error)))
        # Which node has not answered is not known; Slurm may show it only later.
        return _sweep_others(job, needed, command, slurm, warn) if rest else ()


def _not_known(names: Sequence[str], why: str) -> str:
    return f"processes of earlier attempts on {format_hostlist(names)}: not known: {why}"


def _run_on_nodes(
    job: JobEnvironment, names: Sequence[str], command: Sequence[str], slurm: Callable[[], Slurm]
) -> str:
    """Return the output of a command on nodes of the job, without those that it loses meanwhile.

    Slurm ends the command on all nodes when it loses one of them, and starts it on none when one is
    lost already. The processes on a lost node end with it.

    Raises:
        SlurmError: it could not be started, or has failed, though the job has all of the nodes.
    """
    while True:
        try:
            return slurm().run_on_nodes(job.job_id or 0, names, command)
        except SlurmError:
            shown = slurm().job(job.job_id or 0)
            left = [name for name in names if name in shown.nodes]
            if not job.in_place or not shown.running or len(left) == len(names):
                raise
            if not left:
                return ""
            names = left


def _still_held(job: JobEnvironment, slurm: Callable[[], Slurm]) -> Sequence[str]:
    """Return the nodes that the job still has, those that the attempt does not use included.

    Raises:
        RuntimeError: Slurm does not answer.
    """
    if not job.unused or job.job_id is None:
        return job.nodes
    try:
        return slurm().job(job.job_id).nodes
    except SlurmError as error:
        raise RuntimeError(f"the nodes of the job are not known: {error}") from error


def _format(node: str, count: str) -> str:
    what = (
        "1 process of an earlier attempt was"
        if count == "1"
        else f"{count} processes of earlier attempts were"
    )
    return f"{what} killed on {node}"


def _nodes_of_lost(attempts: Sequence[AttemptDir]) -> set[str]:
    """Return the nodes of the attempts whose supervisor recorded no end."""
    nodes: set[str] = set()
    for attempt in attempts:
        end, start = attempt.end(), attempt.start()
        # Without a start record, no trainer was started.
        if start is not None and (end is None or end.backfilled):
            nodes.update(start.nodes)
    return nodes
