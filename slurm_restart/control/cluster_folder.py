"""Name the folder of a cluster's journals, whatever the name of the cluster is."""

import re

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)
_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_NO_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_LONGEST = 200
"""Bytes of a folder's name: file systems take 255, and names of copies are longer."""
_SHORTENED = 160


def folder_name(cluster: str) -> str:
    """Return a file name for a cluster: no two clusters have the same one.

    A name of letters, digits and `._-` that starts with a letter or digit stays as it is. Any other
    is written as in a URL: each other byte as `%` and two hexadecimal digits, the first character
    too unless it is a letter or digit. The name of no folder starts with a dot or a dash. Of a name
    that is too long for a file system, the first part is followed by `%~` and a SHA-256.
    """
    # Bytes that are not UTF-8 are in the hook's environment, but not in the output of scontrol.
    data = _NO_TEXT.sub("\ufffd", cluster).encode("utf-8", "surrogateescape")
    text = data.decode("utf-8", "replace")
    if _PLAIN.fullmatch(text):
        return text
    encoded = "".join(_encode(byte, first=index == 0) for index, byte in enumerate(text.encode()))
    return _shorten(encoded) if len(encoded) > _LONGEST else encoded or "%"


def _encode(byte: int, *, first: bool) -> str:
    kept = byte in _KEPT and not (first and chr(byte) in "._-")
    return chr(byte) if kept else f"%{byte:02X}"


def _shorten(encoded: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 - slow to import, and no real cluster needs it

    return f"{encoded[:_SHORTENED]}%~{sha256(encoded.encode()).hexdigest()[:32]}"
