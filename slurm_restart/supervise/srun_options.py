"""What the options of an srun say."""

import re
from collections.abc import Mapping

_KILLS = re.compile(r" (?:-K|--kill-on-bad-exit)=?(\d{1,10})?(?: |$)", re.ASCII)
_VARIABLE = "SLURM_KILL_BAD_EXIT"


def kills_on_bad_exit(command: str, environment: Mapping[str, str]) -> bool | None:
    """Return whether an srun kills all tasks of its step as soon as one has failed.

    None: neither an option nor the variable says so, and KillOnBadExit in slurm.conf decides.

    Args:
        command: its words, with a space between them.
        environment: its variables.
    """
    given = _KILLS.search(command)
    if given is not None:
        return int(given[1] or 1) != 0
    variable = environment.get(_VARIABLE, "")
    return None if variable == "" else variable != "0"
