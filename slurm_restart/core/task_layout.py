"""On which node each task of a job runs, from the numbers and the distribution that Slurm tells."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from slurm_restart.core.finding import Finding
from slurm_restart.core.rank_hosts import short_host, split_rank

MAX_TASKS = 65536
"""Tasks of a layout; there is none for more."""
_COUNT = r"(?P<count>[1-9]\d{0,5})(?:\(x(?P<nodes>[1-9]\d{0,5})\))?"
# Slurm, src/srun/launch.c: one line for all tasks of a host that ended alike.
_ENDED = r"srun: (?:error: )?(?P<host>[A-Za-z0-9][\w.-]{0,127}): tasks? (?P<tasks>[\d,-]{1,4000}): "


def parse_task_counts(text: str) -> tuple[int, ...]:
    """Return the tasks of each node in the form of SLURM_TASKS_PER_NODE: `2(x3),1` is 2, 2, 2, 1.

    Empty: it is no such list, or has more than `MAX_TASKS` nodes.
    """
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(_COUNT, part, re.ASCII)
        if found is None or len(counts) + int(found["nodes"] or 1) > MAX_TASKS:
            return ()
        counts += [int(found["count"])] * int(found["nodes"] or 1)
    return tuple(counts)


def even_counts(tasks: int, per_node: int, nodes: int) -> tuple[int, ...]:
    """Return the tasks of each node where the totals leave only one answer; empty: they do not.

    Args:
        tasks: of the job.
        per_node: those requested for each node; 0: none were.
        nodes: their number; each of them has a task.
    """
    each = per_node or 1
    return (each,) * nodes if 0 < each * nodes == tasks <= MAX_TASKS else ()


def task_layout(
    nodes: Sequence[str], counts: Sequence[int], distribution: str | None
) -> tuple[str, ...]:
    """Return the node of each task, by its number; empty: it is not known.

    Args:
        nodes: in Slurm's order.
        counts: tasks of each node.
        distribution: of tasks over nodes, as in SLURM_DISTRIBUTION (`block:cyclic`); None: not
            known, so that only tasks have a node that `block` and `cyclic` place alike; the node of
            the others is an empty text.
    """
    if not nodes or len(nodes) != len(counts) or sum(counts) > MAX_TASKS:
        return ()
    if distribution is None:
        placed = zip(_block(nodes, counts), _cyclic(nodes, counts), strict=True)
        return tuple(first if first == second else "" for first, second in placed)
    match distribution.lower().partition(":")[0]:
        case "block" | "*":
            return _block(nodes, counts)
        case "cyclic":
            return _cyclic(nodes, counts)
        case _:
            # `arbitrary` and `plane` depend on more than the numbers.
            return ()


def _block(nodes: Sequence[str], counts: Sequence[int]) -> tuple[str, ...]:
    return tuple(node for node, count in zip(nodes, counts, strict=True) for _ in range(count))


def _cyclic(nodes: Sequence[str], counts: Sequence[int]) -> tuple[str, ...]:
    return tuple(
        node
        for turn in range(max(counts))
        for node, count in zip(nodes, counts, strict=True)
        if turn < count
    )


def place_tasks(findings: Iterable[Finding], layout: Sequence[str]) -> tuple[Finding, ...]:
    """Return findings with the host of their task where the layout gives it and the line does not.

    The layout is that of the job, and a step may have another one. So it counts only if the log
    shows the last task and no higher one, and no task on another node.
    """
    findings = tuple(findings)
    if not layout or not _agrees(findings, layout):
        return findings
    return tuple(_placed(finding, layout) for finding in findings)


def _placed(finding: Finding, layout: Sequence[str]) -> Finding:
    task = split_rank(finding.rank)[0]
    if finding.host or task is None:
        return finding
    return replace(finding, host=layout[task])


def _agrees(findings: Sequence[Finding], layout: Sequence[str]) -> bool:
    highest = -1
    for finding in findings:
        label = split_rank(finding.rank)[0]
        found = re.search(_ENDED, finding.text)
        named = _numbers(found["tasks"]) if found else []
        highest = max([highest, -1 if label is None else label, *named])
        if highest >= len(layout):
            return False
        if found and any(_differ(layout[task], found["host"]) for task in named):
            return False
    return highest == len(layout) - 1


def _differ(placed: str, named: str) -> bool:
    return bool(placed) and short_host(placed) != short_host(named)


def _numbers(text: str) -> list[int]:
    """Return the first and last number of each part of a list such as `0,4-7`.

    Tasks of one host in a range are consecutive, so those between are on the same host.
    """
    return [int(number) for number in re.findall(r"\d{1,9}", text)]
