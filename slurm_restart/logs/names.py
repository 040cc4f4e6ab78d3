"""Node names as lines of a log give them: one, several, or a hostlist such as `csx[1-3,7]`."""

from slurm_restart.core.hostlist import expand
from slurm_restart.errors import SlurmError

MAX_NAMES = 256
"""A line that gives more names blames nobody."""


def split_names(text: str) -> tuple[str, ...]:
    """The names in a text, each once; what is no list of names gives none."""
    try:
        names = expand(text.strip(","))
    except SlurmError:
        return ()
    return names if len(names) <= MAX_NAMES else ()
