"""Checkpoints that are not on a file system of the nodes: `s3://bucket/run/checkpoint_100.mdl`."""

import re

MAX_LENGTH = 1024
"""Characters of a URL; S3 allows keys of as many bytes."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://")
_PLAIN = re.compile(r"[^\s\x00-\x1f\x7f\"'<>\\^`{|}?#\ufffd]+")


def is_url(path: str) -> bool:
    """Return whether a path is a URL."""
    return _SCHEME.match(path) is not None


def split_scheme(path: str) -> tuple[str, str]:
    """Return the scheme of a URL, with `://`, and the rest; without a scheme: "" and the path."""
    match = _SCHEME.match(path)
    return ("", path) if match is None else (match[0], path[match.end() :])


def url_problem(url: str) -> str | None:
    """Return what is expected instead of a URL of a directory; None: it can be used."""
    scheme, rest = split_scheme(url)
    parts = rest.rstrip("/").split("/")
    if scheme.lower() == "file://":
        return "a path on a file system without file://"
    # hdfs:///path has no host: the cluster's configuration names it.
    if not parts[0] and not (scheme.lower() == "hdfs://" and len(parts) > 1):
        return f"a bucket or host behind {scheme}"
    if len(url) > MAX_LENGTH // 2:
        return f"a URL of at most {MAX_LENGTH // 2} characters"
    if not all(parts[1:]) or not _is_clean(rest, parts):
        return "a URL without spaces, quotes, control characters, ?, # and .."
    return None


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a checkpoint below a URL."""
    parts = text.split("/")
    return len(text) <= MAX_LENGTH and all(parts) and _is_clean(text, parts)


def _is_clean(text: str, parts: list[str]) -> bool:
    dots = {".", ".."} & set(parts)
    return _PLAIN.fullmatch(text) is not None and text.isprintable() and not dots
