"""How the nodes of a job are checked before an attempt, as the user or the site has set it."""

import difflib
import re
from typing import Annotated, Any

from slurm_restart.core.node_answers import CheckTime
from slurm_restart.core.record_reader import Argument, Range, unknown_keys
from slurm_restart.frozen import frozen

CHECKS = {
    "cpu": "CPUs online, and the load",
    "memory": "free memory, and errors of memory that were not corrected",
    "disk": "the run directory answers and can be written; free space of /tmp",
    "network": "the batch host can be reached",
    "gpu": "GPUs answer, uncorrected ECC errors, Xid messages of the last hour",
}
"""The ready-made checks, and what they look at."""
SHARES = {"memory": 10, "disk": 5}
"""Checks that take a share of free memory or space, `memory=30`, and their default in percent."""
DEFAULT_TIMEOUT = 60
MAX_TIMEOUT = 24 * 3600
_NEAR = 0.8
"""How similar a word is to the name of a check that it was meant to be, from 0 to 1."""
_CHECK = re.compile(r"([a-z]+)(?:=([0-9]{1,2})%?)?", re.ASCII)


@frozen
class HealthCheck:
    """The check of each node. Without `checks` and `command` there is none."""

    checks: tuple[Argument, ...] = ()
    """Ready-made ones, with their shares: `memory=30`."""
    command: Argument | None = None
    """A shell command, run in the job's directory; a node is healthy if it exits with 0."""
    timeout: Annotated[int, Range(1, MAX_TIMEOUT)] = DEFAULT_TIMEOUT
    """Seconds that one node may take for all of them."""
    when: CheckTime = CheckTime.AUTO
    unknown: dict[str, Any] = unknown_keys()

    @property
    def is_given(self) -> bool:
        """Whether there is anything to check."""
        return bool(self.checks or self.command)


def parse_checks(text: str) -> tuple[str, ...]:
    """Return the ready-made checks of a list such as `cpu,memory=30,disk`.

    Raises:
        ValueError: what was expected in place of the first that is not one of them.
    """
    found: list[str] = []
    for word in text.split(","):
        match = _CHECK.fullmatch(word.strip())
        if match is None or match[1] not in CHECKS:
            raise ValueError(f"some of {', '.join(CHECKS)}")
        if match[2] is not None and match[1] not in SHARES:
            raise ValueError(f"a share only for {' and '.join(SHARES)}")
        found.append(match[1] if match[2] is None else f"{match[1]}={match[2]}")
    return tuple(dict.fromkeys(found))


def is_list_of_checks(text: str) -> bool:
    """Return whether a text names ready-made checks; if not, it is a command."""
    words = [word.strip().partition("=")[0] for word in text.split(",")]
    return all(word in CHECKS for word in words)


def is_misspelt_list(text: str) -> bool:
    """Return whether a text is a list of words that are all, or nearly, names of checks."""
    names = [_CHECK.fullmatch(word.strip()) for word in text.split(",")]
    return not is_list_of_checks(text) and all(
        name is not None and difflib.get_close_matches(name[1], CHECKS, n=1, cutoff=_NEAR)
        for name in names
    )


def share_of(check: str) -> tuple[str, int]:
    """Return the name of a check and its share in percent; 0: it has none."""
    name, _, share = check.partition("=")
    return name, int(share) if share else SHARES.get(name, 0)
