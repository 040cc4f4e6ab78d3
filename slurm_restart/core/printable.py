"""Text of any origin made safe for a terminal or a log: control characters are escaped."""

import re

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional controls, zero-width and
# byte-order marks, and lone surrogates, which no encoder takes.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def escape_controls(text: object, *, keep: str = "") -> str:
    r"""Return `str(text)` with each character that could steer a terminal written as its escape.

    An escape is as in Python's `repr`: `\x1b`, `\u202e`, `\n`.

    Args:
        text: from any source: a job name, a path, a log line, an error message.
        keep: characters that stay as they are, such as a line feed in a message of several lines.
    """
    return _UNSAFE.sub(
        lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], str(text)
    )
