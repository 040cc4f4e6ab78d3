"""Recognise a log line about an error inside the checkpoint that an attempt started from."""

import re

_ABSENT = re.compile(r"No such file or directory|FileNotFound|does not exist")
_FORBIDDEN = re.compile(r"Permission denied|Operation not permitted")


def names_broken_part(text: str, checkpoint: str) -> bool:
    """Return whether a line about an error names the checkpoint, or a file inside it.

    A checkpoint that is as a whole not there, or not readable for this user, is not broken: its
    file system is not mounted, or has other rights, on that node.

    Args:
        text: the line.
        checkpoint: absolute path of the checkpoint. Its name is enough in the line: programs print
            paths as they were given, or relative ones.
    """
    # Neither step-100.pt nor my-step-10 is step-10.
    name = rf"(?<![\w.-]){re.escape(checkpoint.rstrip('/').rpartition('/')[2])}"
    if _FORBIDDEN.search(text) is not None:
        return False
    if re.search(rf"{name}/[\w.]", text) is not None:
        return True
    return re.search(rf"{name}/?(?![\w-]|\.\w)", text) is not None and not _ABSENT.search(text)
