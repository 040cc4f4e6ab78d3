"""Find the hook among Slurm's EpilogSlurmctld programs, and read the values in its text."""

import re
import shlex
from pathlib import Path

from slurm_restart.control.checks.context import Context, NotKnownError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import read_bounded

_MARK = "slurm_restart.control"
_MODULE = re.compile(r"(?:\bfrom|\bimport|\s-m)\s+(slurm_restart(?:\.\w+)+)")
"""A module where Python is told to load it: paths may have the package's name in them, too."""
_VERSION = re.compile(r"^#\s*slurm_restart[ :]+v?(\d[\w.+-]*)\s*$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^([A-Z][A-Z_]*)=(.*)$", re.MULTILINE)
_MAX_BYTES = 1 << 20
"""Of a program that may be the hook; a larger one is not."""


@frozen
class HookFile:
    """The hook and the values that `csx-restart hook` has filled in; empty where there is none."""

    path: Path
    text: str

    @property
    def python(self) -> str:
        """The interpreter that the hook starts."""
        return self.values.get("PYTHON", "")

    @property
    def site(self) -> str:
        """The settings file that the hook names."""
        return self.values.get("SITE", "")

    @property
    def former(self) -> str:
        """The site's own EpilogSlurmctld, which the hook runs first."""
        return self.values.get("FORMER", "")

    @property
    def values(self) -> dict[str, str]:
        """The values of the variables that the text sets, by name."""
        return {match[1]: _unquoted(match[2]) for match in _ASSIGNMENT.finditer(self.text)}

    @property
    def code(self) -> str:
        """The text without these values."""
        return _ASSIGNMENT.sub(r"\1=", self.text)

    @property
    def version(self) -> str | None:
        """The release of slurm_restart that printed the hook; None where it does not say."""
        match = _VERSION.search(self.text)
        return match[1] if match else None

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of the package that the hook starts."""
        lines = (line for line in self.text.splitlines() if not line.lstrip().startswith("#"))
        return tuple(dict.fromkeys(name for line in lines for name in _MODULE.findall(line)))


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value, comments=True)
    except ValueError:
        return ""  # a quotation mark without its second
    return words[0] if words else ""


def find_hook(context: Context) -> HookFile | None:
    """Return the plugin's hook among the EpilogSlurmctld programs; None if there is none.

    Raises:
        NotKnownError: Slurm's configuration is not known, or a program may not be read.
    """
    for value in context.several("EpilogSlurmctld"):
        path = Path(value)
        try:
            text = read_bounded(path, _MAX_BYTES).decode(errors="replace")
        except PermissionError as error:
            message = f"not checked: {path} could not be read: {error.strerror}"
            raise NotKnownError(message, "run csx-restart doctor as root or SlurmUser") from None
        except OSError:
            continue  # absent, or no script
        if _MARK in text:
            return HookFile(path=path, text=text)
    return None


def the_hook(context: Context) -> HookFile:
    """Return the plugin's hook.

    Raises:
        NotKnownError: there is none, or it is not known.
    """
    hook = find_hook(context)
    if hook is None:
        raise NotKnownError("not checked: csx-epilog is not configured", "see hook.configured")
    return hook
