"""Judges that a classifier has to beat: each is what a short job script could do."""

import re
from collections.abc import Callable

from contrib.failure_bench_parts.cases import Answer, Case, bare

_BY_STATE = {
    "COMPLETED": "completed",
    "CANCELLED": "cancelled",
    "TIMEOUT": "timeout",
    "OUT_OF_MEMORY": "oom_host",
    "NODE_FAIL": "hardware.node",
    "PREEMPTED": "preemption",
    "REQUEUED": "preemption",
}
_BY_CODE = {
    "2": "config",
    "126": "config",
    "127": "config",
    "130": "cancelled",
    "132": "software.crash",
    "134": "software.crash",
    "135": "software.crash",
    "136": "software.crash",
    "137": "oom_host",
    "139": "software.crash",
    "143": "preemption",
}
_STOPS = frozenset({"completed", "cancelled", "config", "code"})
_ERROR = re.compile(r"error", re.IGNORECASE)
_OUTSIDE = re.compile(
    r"nccl|connection|timed? ?out|network|input/output|node|memory", re.IGNORECASE
)


def always_restart(case: Case) -> Answer:
    """Restart whatever has not completed."""
    done = case.state == "COMPLETED"
    return Answer(category="completed" if done else "unknown", restart=not done)


def exit_code(case: Case) -> Answer:
    """Look at Slurm's state and the exit code, and not into the log."""
    code = case.exit_code.partition(":")[0]
    category = _BY_STATE.get(case.state) or _BY_CODE.get(code) or "unknown"
    return Answer(category=category, restart=category not in _STOPS)


def grep_error(case: Case) -> Answer:
    """Take the first line with `error`: a restart if it mentions the network, memory or a node."""
    answer = always_restart(case)
    if not answer.restart:
        return answer
    lines = case.log.read_text(errors="replace").splitlines()
    line = next((line for line in lines if _ERROR.search(line)), None)
    if line is None:
        return answer
    restart = bool(_OUTSIDE.search(line))
    return Answer(category="unknown" if restart else "code", restart=restart, root=bare(line))


BASELINES: dict[str, Callable[[Case], Answer]] = {
    "always-restart": always_restart,
    "exit-code": exit_code,
    "grep-error": grep_error,
}
