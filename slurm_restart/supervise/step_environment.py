"""Keep the job steps of an attempt on its nodes, where the job has further ones.

srun takes the number of nodes from its environment, but takes any of the job's nodes (measured):
SLURM_JOB_NODELIST only tells programs which they are. So the first `srun` in PATH is a script that
excludes the job's other nodes.

22.05 shows a step as running for ever, and does not cancel it, if its tasks had ended on all other
nodes before Slurm lost one (measured). Further steps would wait for its CPUs: they overlap it.
"""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from slurm_restart.core.task_layout import parse_task_counts
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.rundir import AttemptDir

_COUNTS = ("SLURM_TASKS_PER_NODE", "SLURM_JOB_CPUS_PER_NODE")
_NAME = "srun"


def step_environment(
    job: JobEnvironment, attempt: AttemptDir, bin_dir: str, env: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the variables that describe the attempt's nodes as its job's, and write its `srun`.

    Empty where the attempt uses all nodes of the job.

    Args:
        job: the allocation, with the attempt's nodes.
        attempt: gets the script.
        bin_dir: where Slurm's commands are if PATH has none.
        env: of the job.

    Raises:
        OSError: the script cannot be written.
    """
    if not job.unused:
        return {}
    path = env.get("PATH", os.defpath)
    srun = _find(path) or f"{bin_dir}/{_NAME}"
    directory = attempt.path / "bin"
    directory.mkdir(exist_ok=True)
    write_atomic(directory / _NAME, _script(srun, job.unused), mode=0o755)
    hostlist, count = format_hostlist(job.nodes), str(len(job.nodes))
    return {
        "SLURM_JOB_NODELIST": hostlist,
        "SLURM_NODELIST": hostlist,
        "SLURM_JOB_NUM_NODES": count,
        "SLURM_NNODES": count,
        **({"SLURM_OVERLAP": "1"} if job.step_left else {}),
        **dict(_counts(job, env)),
        "PATH": f"{directory}:{path}",
    }


def _find(path: str) -> str | None:
    places = (Path(directory, _NAME) for directory in path.split(":") if directory)
    return next((str(place) for place in places if os.access(place, os.X_OK)), None)


def _script(srun: str, unused: Sequence[str]) -> bytes:
    hostlist = shlex.quote(format_hostlist(unused))
    lines = (
        "#!/bin/sh",
        "# Written by csx-restart: these nodes of the job are not this attempt's.",
        f'exec {shlex.quote(srun)} --exclude={hostlist} "$@"',
    )
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def _counts(job: JobEnvironment, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the variables with a number for each node, without those of unused nodes."""
    for name in _COUNTS:
        counts = parse_task_counts(env.get(name, ""))
        if len(counts) == len(job.held):
            used = (
                count for node, count in zip(job.held, counts, strict=True) if node in job.nodes
            )
            yield name, _format_counts(used)


def _format_counts(counts: Iterator[int]) -> str:
    """Return numbers in the form of SLURM_TASKS_PER_NODE: 2, 2, 2, 1 is `2(x3),1`."""
    runs = ((count, len(list(equal))) for count, equal in groupby(counts))
    return ",".join(f"{count}(x{times})" if times > 1 else str(count) for count, times in runs)
