"""The parts of Python's tracebacks, and the state of a rank that prints them."""

import re
from dataclasses import dataclass

from slurm_restart.core.category import Category

TRACEBACK = "Traceback (most recent call last)"
CHAINS = (
    "During handling of the above exception, another exception occurred",
    "The above exception was the direct cause of the following exception",
)
# Python continues after these: an error in a destructor, or in writing the log.
IGNORED = ("Exception ignored in", "--- Logging error ---")
STRUCTURE = (TRACEBACK, *CHAINS, *IGNORED)
"""Texts that make a line suspect besides the literals of the rules."""
INSIDE = ("", " ", "│", "╭", "╰", "╮", "❱")
"""First characters of the lines inside a traceback, also of one that Rich formats."""
EXCEPTION = re.compile(r"[\w.]{1,120}(?:Error|Exception)\b")
"""The beginning of the line of an exception."""
CODE = re.compile(r" {4,}(?:raise|return|assert|self\.|if|with|for|yield|await)\b")
"""A source line of a traceback whose header is missing."""

# Compiled when the first frame is read, which takes 1 ms.
_FRAME = r' +File "(?P<file>[^"]{1,400})", line \d{1,7}, in (?P<name>\S{1,100})'
# What a program reads where, by the words for it in the names of files and functions.
_OF_DATA = (
    r"data_?(?:set|loader|module|iter|source|pipe|utils|reader)|/datasets?/|/datapipes?/|__getitem__"
    r"|collate|_fetch\b|(?:read|load|get|next|fetch|decode|parse|open)_?(?:data|sample|record|shard"
    r"|batch|image|example|document|feature|annotation|video|audio)s?\b"
)
_OF_CHECKPOINTS = (
    r"[Cc]heck_?[Pp]oint|ckpt|(?:load|restore|resume|read)_?\w{0,20}(?:model|weight|state|param"
    r"|optim|train)|from_pretrained|\b_?(?:resume|restore)"
)
UNREADABLE = frozenset({Category.DATA_CORRUPT, Category.CHECKPOINT_CORRUPT})
"""Categories of files that cannot be read; the message alone may not tell which kind it was."""


@dataclass(slots=True)
class TracebackState:
    """The state of one rank while it prints exceptions."""

    chained: bool = False
    """The next exception was raised while handling, or because of, the previous one."""
    explained: int | None = None
    """Line of the exception of this chain that counts as the cause."""
    likely: bool = False
    """That exception is only likely to be the cause."""
    ignored: int | None = None
    """Line of the notice that the following exception is ignored."""
    at: float | None = None
    """When the header of the traceback was logged; see `logged_at`."""
    indent: int = 0
    """Blanks in front of the header: the whole traceback may be indented."""
    reading: Category | None = None
    """Which kind of file the program was reading, by its innermost frame that tells; None: none."""

    def is_inside(self, body: str) -> bool:
        """Return whether a line after the header belongs to the traceback and is not its last."""
        if self.indent and not body[: self.indent].strip(" "):
            body = body[self.indent :]
        return body[:1] in INSIDE

    def note_frame(self, body: str) -> None:
        """Record what a line inside the traceback tells about the file that was read."""
        frame = re.match(_FRAME, body) if '", line ' in body else None
        if frame is None:
            return
        own = frame["file"].rpartition("/site-packages/")[2].rpartition("/dist-packages/")[2]
        place = f"{own[-120:]} {frame['name']}"
        if re.search(_OF_CHECKPOINTS, place):
            self.reading = Category.CHECKPOINT_CORRUPT
        elif re.search(_OF_DATA, place):
            self.reading = Category.DATA_CORRUPT

    def category_of(self, category: Category) -> Category:
        """Return a category, as that of the kind of file that was read if no file could be read."""
        return self.reading or category if category in UNREADABLE else category
