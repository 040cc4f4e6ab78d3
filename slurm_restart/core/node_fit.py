"""Determine whether a node is large enough for a job: CPUs, memory, disk and generic resources.

The comparison is slurmctld's own (job_req_node_filter in node_scheduler.c), which rejects a node
for good. What is not known, or has an unknown form, counts as large enough: a wrong "too small"
would shrink a run without need. Not compared, for the same reason: memory for each CPU or GPU times
their number (the value itself is compared), CPUs for each GPU, specialized cores and memory,
sockets, cores and threads, and what is requested for the whole job. `--mem=0` is 0 and fits all.
"""

import re

from slurm_restart.core.job import Job, NodeState

_REQUESTED = re.compile(
    r"(?:gres[:/])?([a-z_][\w.-]*)(?::([a-z_][\w.-]*))?(?:[:=]([0-9]+))?", re.IGNORECASE
)
_CONFIGURED = re.compile(
    r"([a-z_][\w.-]*)(?::(?!no_consume)([a-z_][\w.-]*))?(?::no_consume)?:([0-9]+)([KMGTP]?)"
    r"(?:\([^()]*\))?",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r",(?![^()]*\))")
_UNITS = "KMGTP"


def is_large_enough(job: Job, node: NodeState) -> bool:
    """Return whether the node has what the job requests of each node, used by others or not."""
    pairs = (
        (job.min_cpus, node.cpus),
        (job.min_memory, node.memory),
        (job.min_tmp_disk, node.tmp_disk),
    )
    if any(wanted is not None and has is not None and wanted > has for wanted, has in pairs):
        return False
    if job.tres_per_node is None or node.gres is None:
        return True
    return all(_has(node.gres, part) for part in job.tres_per_node.split(","))


def count_gres(configured: str) -> dict[str, int]:
    """Return the generic resources of a node by the names of TRES: `gres/gpu`, `gres/gpu:a100`.

    Args:
        configured: the node's Gres; a part of unknown form is left out.
    """
    counts: dict[str, int] = {}
    for entry in _BETWEEN.split(configured) if configured else ():
        shown = _CONFIGURED.fullmatch(entry)
        if shown is None:
            continue
        name = f"gres/{shown[1]}"
        for key in (name, f"{name}:{shown[2]}") if shown[2] else (name,):
            counts[key] = counts.get(key, 0) + _amount(shown)
    return counts


def _amount(shown: re.Match[str]) -> int:
    return int(shown[3]) << 10 * (_UNITS.find(shown[4].upper()) + 1 if shown[4] else 0)


def _has(configured: str, part: str) -> bool:
    """Return whether a node's Gres satisfy one part of a request, such as `gres/gpu:a100:2`."""
    wanted = _REQUESTED.fullmatch(part)
    if wanted is None or wanted[1].lower() == "none":
        return True
    name, kind, count = wanted[1].lower(), (wanted[2] or "").lower(), int(wanted[3] or 1)
    found = 0
    for entry in _BETWEEN.split(configured) if configured else ():
        shown = _CONFIGURED.fullmatch(entry)
        if shown is None:
            return True
        its_kind = (shown[2] or "").lower()
        if shown[1].lower() == name and (not kind or its_kind in ("", kind)):
            found += _amount(shown)
    return found >= count
