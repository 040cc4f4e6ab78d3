"""A cache of validated rules and of Hyperscan's databases in the user's cache directory.

What it holds is data that is read, never code that is run. Without a directory that belongs to
the user of this process nothing is read or written: a root shell with another user's HOME neither
trusts nor changes that user's files.
"""

import json
import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurm_restart.logs.compiled_rules import FileRules, content_key, from_data, to_data

MAX_BYTES = 16 << 20
"""Size of one entry."""
MAX_ENTRIES = 200
"""Entries that are kept; the oldest are removed."""


@dataclass(frozen=True, slots=True)
class RuleCache:
    """Entries by key. `directory` None: nothing is kept."""

    directory: Path | None

    @classmethod
    def of_user(cls) -> "RuleCache":
        """Return the cache in XDG_CACHE_HOME or ~/.cache, if that belongs to this user."""
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        try:
            directory = Path(base).expanduser() / "slurm_restart" / "rules"
        except RuntimeError:
            # There is no home directory.
            return cls(None)
        return cls(directory if directory.is_absolute() and _is_own(directory) else None)

    def read(self, path: Path, source: bytes) -> FileRules | None:
        """Return the rules of a file with this content; None: not in the cache."""
        data = self.read_bytes(_entry(source))
        try:
            entry = None if data is None else json.loads(data)
            if not isinstance(entry, dict) or entry.get("source") != source.decode():
                return None
            return from_data(path, entry)
        except (ValueError, RecursionError):
            return None

    def write(self, path: Path, source: bytes, rules: FileRules) -> None:
        """Keep the rules of a file; a failure to write is ignored."""
        with suppress(UnicodeError):
            # The content itself is kept as well, because a key may be that of another content.
            entry = {"source": source.decode(), **to_data(path, rules)}
            self.write_bytes(_entry(source), json.dumps(entry).encode())

    def read_bytes(self, name: str) -> bytes | None:
        """Return an entry; None: there is none that can be read."""
        if self.directory is None:
            return None
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(self.directory / name, flags), "rb") as file:
                state = os.fstat(file.fileno())
                if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
                    return None
                data = file.read(MAX_BYTES + 1)
        except OSError:
            return None
        return data if len(data) <= MAX_BYTES else None

    def write_bytes(self, name: str, data: bytes) -> None:
        """Keep an entry; a failure to write is ignored."""
        if self.directory is None or len(data) > MAX_BYTES:
            return
        temporary = self.directory / f".{name}.{os.getpid()}"
        with suppress(OSError):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_oldest(self.directory)
            try:
                temporary.write_bytes(data)
                temporary.replace(self.directory / name)
            finally:
                temporary.unlink(missing_ok=True)


def _entry(source: bytes) -> str:
    """Return a file name that also holds Python's version: its `re` decides what is valid."""
    return f"{content_key(source)}-py{sys.version_info[0]}{sys.version_info[1]}.json"


def _remove_oldest(directory: Path) -> None:
    """Make place for one more entry."""
    entries = sorted(directory.iterdir(), key=lambda entry: entry.lstat().st_mtime)
    for entry in entries[: max(0, len(entries) - MAX_ENTRIES + 1)]:
        entry.unlink(missing_ok=True)


def _is_own(directory: Path) -> bool:
    """Whether a directory, or the nearest above it that exists, belongs to this user alone.

    Directories above it may be writable for the user's group, as with umask 002.
    """
    for place in (directory, *directory.parents):
        try:
            state = place.stat()
        except FileNotFoundError:
            continue
        except OSError:
            return False
        others = stat.S_IWOTH | (stat.S_IWGRP if place == directory else 0)
        own = state.st_uid == os.geteuid() and not state.st_mode & others
        return own and stat.S_ISDIR(state.st_mode)
    return False
