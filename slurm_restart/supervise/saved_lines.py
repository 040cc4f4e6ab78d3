r"""Recognise a line of output that says that a checkpoint below a URL was saved.

That is all that is known of such checkpoints, as nothing here reads the URL. Without a pattern of
the user's, a line counts that says so in the past, as the Model Zoo's does (`Saved checkpoint
URL`) and Orbax's (`Finished saving checkpoint (finalized tmp dir) to URL`), or as `aws s3 cp` does
(`upload: FILE to URL`).
"""

import re

from slurm_restart.core.checkpoint_url import is_name, is_url
from slurm_restart.logs.lines import without_escapes
from slurm_restart.logs.patterns import literals
from slurm_restart.trainer.checkpoints import Checkpoint, Mark, checkpoint_named
from slurm_restart.trainer.run_plan import CheckpointLayout

MAX_LINE = 2048
"""Bytes of a line from which on it is not looked at, as its end may be missing."""
_SAID = re.compile(
    r"\b(?:saved|wrote|written|uploaded|stored|committed"
    r"|upload:|upload (?:complete|completed|succeeded|success|successful|done|finished))(?!\w)",
    re.IGNORECASE,
)
_FINISHED = re.compile(
    r"\b(?:finished|done|completed) (?:\w+ ){0,2}(?:saving|writing|uploading|storing)\b",
    re.IGNORECASE,
)
# The URL may be of a checkpoint that is yet to be saved, was not saved, or is read or removed.
_OTHERWISE = re.compile(
    r"\b(?:saving|writing|uploading|storing|will|would|should|to be|going to|not|never|cannot"
    r"|unable|fail(?:ed|s|ure)?|load(?:ed|ing|s)?|read(?:ing|s)?|restor(?:ed|ing|es|e)|resum(?:ed|ing|es|e)"
    r"|delet(?:ed|ing|es|e)|remov(?:ed|ing|es|e)|skip(?:ped|ping|s)?|abort(?:ed|ing|s)?)\b|n't\b",
    re.IGNORECASE,
)
_URL_END = r"[^\s\x00-\x1f\x7f\"'<>\\^`{|}?#]*"
_AFTER_NAME = "/.,;:!)]…"


class SavedLines:
    """The lines that name saved checkpoints of one layout.

    Args:
        layout: its directory is a URL.
    """

    def __init__(self, layout: CheckpointLayout) -> None:
        self._layout = layout
        self._given = None if layout.saved is None else re.compile(layout.saved.encode())
        root = re.escape(layout.directory)
        self._url = re.compile(rf"(?<![A-Za-z0-9+.-]){root}/({_URL_END})")
        self.texts = (
            frozenset({f"{layout.directory}/"}) if layout.saved is None else literals(layout.saved)
        )
        """One of them is in every such line; none: nothing is known."""

    def read(self, line: bytes, mark: Mark) -> Checkpoint | None:
        """Return the checkpoint that a whole line says was saved; None: it says nothing of one.

        Args:
            line: without its end.
            mark: what the checkpoint gets.
        """
        if len(line) >= MAX_LINE:
            return None
        plain = without_escapes(line)
        named = self._named(plain) if self._given is None else self._by_pattern(plain, self._given)
        return None if named is None else self.checkpoint(named, mark)

    def checkpoint(self, url: str, mark: Mark) -> Checkpoint | None:
        """Return the checkpoint of a URL; None: it is not below the root, or no such name."""
        name = url.removeprefix(f"{self._layout.directory}/")
        if name == url or not is_name(name):
            return None
        return checkpoint_named(self._layout, name, mark)

    def _named(self, line: bytes) -> str | None:
        text = line.decode(errors="replace")
        names = [match[1].rstrip(_AFTER_NAME) for match in self._url.finditer(text)]
        # A key of a JSON log joins words: "checkpoint_saved".
        rest = _FINISHED.sub("saved", self._url.sub(" ", text).replace("_", " "))
        if not names or _SAID.search(rest) is None or _OTHERWISE.search(rest) is not None:
            return None
        return f"{self._layout.directory}/{names[-1]}"

    def _by_pattern(self, line: bytes, pattern: re.Pattern[bytes]) -> str | None:
        match = pattern.search(line)
        if match is None or match["path"] is None:
            return None
        path = match["path"].decode(errors="replace").rstrip(_AFTER_NAME)
        return path if is_url(path) else f"{self._layout.directory}/{path}"
