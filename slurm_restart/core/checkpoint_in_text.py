"""Recognise log lines about errors with the checkpoints of a run."""

import re

from slurm_restart.core.checkpoint_url import is_url

_ABSENT = re.compile(r"No such file or directory|FileNotFound|does not exist")
_TAKEN = re.compile(r"Directory not empty|File exists|already exists|FileExistsError|is not empty")
_FORBIDDEN = re.compile(r"Permission denied|Operation not permitted")
_REFUSED_WORDS = re.compile(
    r"unrecognized (?:argument|option)|invalid choice|[Uu]nexpected (?:extra )?argument"
    r"|[Uu]nknown (?:argument|option|command)|No such (?:option|command)|Could not consume arg"
    r"|are not used by the HfArgumentParser|ambiguous option"
)
"""How programs begin to say which words of their command line they do not understand."""


def names_broken_part(text: str, checkpoint: str) -> bool:
    """Return whether a line about an error names the checkpoint, or a file inside it.

    A checkpoint that is as a whole not there, or not readable for this user, is not broken: its
    file system is not mounted, or has other rights, on that node. One at a URL that is not there is
    lost: all nodes ask the same service. What is refused as a word of the command line was not read
    at all, such as the rest of a path that was not quoted.

    Args:
        text: the line.
        checkpoint: absolute path, or URL, of the checkpoint. Its name is enough in the line:
            programs print paths as they were given, or relative ones.
    """
    refused = _REFUSED_WORDS.search(text)
    if refused is not None:
        text = text[: refused.start()]
    # Neither step-100.pt nor my-step-10 is step-10.
    name = rf"(?<![\w.-]){re.escape(checkpoint.rstrip('/').rpartition('/')[2])}"
    if _FORBIDDEN.search(text) is not None:
        return False
    if re.search(rf"{name}/[\w.]", text) is not None:
        return True
    if re.search(rf"{name}/?(?![\w-]|\.\w)", text) is None:
        return False
    return is_url(checkpoint) or _ABSENT.search(text) is None


def names_taken_name(text: str, checkpoint: str) -> bool:
    """Return whether a line tells that a checkpoint could not be written, as its name is taken.

    That is a matter of what is on disk, and not of what the program has loaded.

    Args:
        text: the line.
        checkpoint: path or URL of the checkpoint that the attempt started from: others of the run
            differ by their numbers.
    """
    parts = [part for part in checkpoint.split("/") if re.search(r"\d", part)]
    if not parts or _TAKEN.search(text) is None:
        return False
    name = re.sub(r"\d+", r"\\d+", re.escape(parts[-1]))
    return re.search(rf"(?<![\w.-]){name}(?![\w-]|\.\w)", text) is not None
