"""Hosts that a launcher such as pdsh or DeepSpeed's puts in front of each line."""

import re
from dataclasses import dataclass, field

from slurm_restart.logs.lines import split_label
from slurm_restart.logs.tracebacks import TRACEBACK

MAX_HOSTS = 4096
# A name without a digit is that of a program, and so are these.
PREFIX = re.compile(
    r"(?!slurm(?:stepd|d|ctld|dbd)-|(?:python|perl|ruby|pip|gcc|clang)[\d.-])"
    r"(?P<host>[A-Za-z][A-Za-z_-]{0,60}\d[\w.-]{0,60}): (?=\S| )"
)

# journald and syslog, without the time: `n3 job.sh[4242]: `.
_LOGGED = re.compile(r"[\w.-]{1,64} [\w./@-]{1,64}\[\d{1,10}\]: (?=\S)")


def without_host(message: str) -> str:
    """Return a message without the name in front that may be a host; empty: there is none."""
    found = PREFIX.match(message) or _LOGGED.match(message)
    return message[found.end() :].lstrip() if found else ""


def host_in(label: str) -> str:
    """Return the host of a label such as `n3: `; empty: the label names none."""
    found = PREFIX.match(f"{label}.")
    return found["host"] if found else ""


@dataclass(slots=True)
class HostPrefixes:
    """The names that were in front of a traceback: they are hosts, and so labels of lines."""

    known: set[str] = field(default_factory=set)

    def copy(self) -> "HostPrefixes":
        """Return an independent copy."""
        return HostPrefixes(set(self.known))

    def split(self, text: str) -> tuple[str, str]:
        """Split a readable line into its labels, a known host in front among them, and the rest."""
        label, body = split_label(text)
        if label or not (host := self.host_of(body)):
            return label, body
        return host, body[len(host) :]

    def host_of(self, body: str) -> str:
        """Return the label (`n3: `) in front of a line, or an empty text."""
        found = PREFIX.match(body)
        if found is None:
            return ""
        if found["host"] not in self.known:
            if not body.startswith(TRACEBACK, found.end()) or len(self.known) >= MAX_HOSTS:
                return ""
            self.known.add(found["host"])
        return found[0]
