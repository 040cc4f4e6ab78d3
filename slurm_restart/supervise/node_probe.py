"""Run a module that deals with the trainer's processes of one node: on this node and on others.

Its `main` gets which processes these are in its first arguments, `COUNT` in number.
"""

import os
import socket
import sys
from collections.abc import Sequence

from slurm_restart.supervise.child_process import ROOT
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.job_processes import Belonging

COUNT = 5
_CODE = """
import sys
sys.path.append(sys.argv.pop(1))
from {module} import main
main()
"""


def arguments_here(job: JobEnvironment, reaper: int) -> tuple[str, ...]:
    """Return the first arguments on this node.

    Args:
        job: the job.
        reaper: process id of the reaper, below which the trainer's processes are.
    """
    return _first(job, job.node_name or "", reaper, os.getpid())


def command_elsewhere(module: str, job: JobEnvironment, arguments: Sequence[str]) -> list[str]:
    """Return the command for other nodes, where only tasks of the job are the trainer's.

    Args:
        module: its full name.
        job: the job.
        arguments: those after the first ones.
    """
    code = _CODE.format(module=module)
    return [sys.executable, "-I", "-c", code, ROOT, *_first(job, "", 0, 0), *arguments]


def _first(job: JobEnvironment, node: str, reaper: int, supervisor: int) -> tuple[str, ...]:
    return str(job.job_id or 0), job.cluster or "", node, str(reaper), str(supervisor)


def parse_arguments(arguments: Sequence[str]) -> tuple[Belonging, str]:
    """Return which processes are the trainer's, and the name of this node.

    Args:
        arguments: job id or 0, the cluster or nothing, this node or nothing, the reaper's process
            id or 0, the supervisor's or 0.
    """
    job_id, cluster, given, reaper, supervisor = arguments
    known = given or os.environ.get("SLURMD_NODENAME")
    belonging = Belonging(
        job_id=int(job_id) or None,
        node=known,
        roots=(int(reaper),) if int(reaper) else (),
        outside=(int(supervisor) or os.getpid(),),
        cluster=cluster or None,
    )
    return belonging, known or socket.gethostname()
