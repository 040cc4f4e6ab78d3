"""What Python's tracebacks are made of, and where a rank is in printing them."""

import re
from dataclasses import dataclass

TRACEBACK = "Traceback (most recent call last)"
CHAINS = (
    "During handling of the above exception, another exception occurred",
    "The above exception was the direct cause of the following exception",
)
# Python goes on after these: an error in a destructor, or in writing the log.
IGNORED = ("Exception ignored in", "--- Logging error ---")
STRUCTURE = (TRACEBACK, *CHAINS, *IGNORED)
"""Texts that the reader wants to see besides what the rules look for."""
INSIDE = ("", " ", "│", "╭", "╰", "╮", "❱")
"""With what the lines of a traceback begin, also where Rich draws it."""
EXCEPTION = re.compile(r"[\w.]{1,120}(?:Error|Exception)\b")
"""What an exception's line begins with."""
CODE = re.compile(r" {4,}(?:raise|return|assert|self\.|if|with|for|yield|await)\b")
"""A source line of a traceback whose head is missing."""


@dataclass(slots=True)
class TracebackState:
    """Where one rank is in printing exceptions."""

    chained: bool = False
    """The next exception was raised while handling, or because of, the one before."""
    explained: int | None = None
    """Line of the exception of this chain that has been taken for the cause."""
    likely: bool = False
    """That exception is no more than likely the cause."""
    ignored: int | None = None
    """Line that says that the exception which follows is ignored."""
    at: float | None = None
    """When the header of the traceback was logged."""
