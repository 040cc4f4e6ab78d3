"""What a case is: a job script that fails in a known way, and what is to be found in its log."""

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

RECOVERABLE = {
    "hardware.accelerator": True,
    "hardware.node": True,
    "network.fabric": True,
    "network.rendezvous": True,
    "storage.io": True,
    "storage.full": False,
    "oom_host": True,
    "memory.device_oom": False,
    "hang": True,
    "preemption": True,
    "timeout": True,
    "data.corrupt": True,
    "numeric.nan": True,
    "compile": False,
    "config": False,
    "code": False,
    "checkpoint.corrupt": True,
    "auth": False,
    "dependency.service": True,
    "software.crash": True,
    "cancelled": False,
    "completed": False,
    "unknown": True,
}
"""Whether a restart can help, by category. Written down here, not asked of what is tested."""


class NotAsExpectedError(Exception):
    """A program did not fail in the way that its case is about."""


@dataclass(frozen=True, kw_only=True)
class OnCluster:
    """How a case runs as a job of a Slurm cluster.

    `act` gets the cluster and the job's number once the job runs and has printed `ready`.
    """

    options: tuple[str, ...] = ()
    act: Callable[..., None] | None = None
    ready: str = "step 3 "
    kind: str = "plain"
    """Cases of one kind share a cluster; see `clusters.KINDS`."""


@dataclass(frozen=True)
class Case:
    """One failing program.

    `root` is a regular expression: the first line of the log in which it is found is the root
    cause. None: the log does not say why. `also` names categories that the log does not tell apart
    from the true one, `also_root` lines that say the same as the root cause in other words.
    """

    name: str
    category: str
    script: str
    root: str | None
    _: KW_ONLY
    also: tuple[str, ...] = ()
    also_root: str | None = None
    blame: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    place: str = "plain"
    answers: int | None = None
    cluster: OnCluster | None = None
    state: str | None = None
    """The Slurm state that must come about; None: COMPLETED or FAILED by the exit code."""

    def root_line(self, log: str) -> str | None:
        """The root-cause line of a log."""
        if self.root is None:
            return None
        return matching(self.root, log)[0]

    def other_root_lines(self, log: str) -> list[str]:
        """Lines that say the same in other words, each once."""
        return [] if self.also_root is None else list(dict.fromkeys(matching(self.also_root, log)))


def matching(pattern: str, log: str) -> list[str]:
    """The lines of a log with a pattern, of which there must be one."""
    if found := [line.strip() for line in log.splitlines() if re.search(pattern, line)]:
        return found
    raise NotAsExpectedError(f"no line with {pattern!r}")
