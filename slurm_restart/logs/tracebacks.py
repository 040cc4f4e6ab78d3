"""The parts of Python's tracebacks, and the state of a rank that prints them."""

import re
from dataclasses import dataclass

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
