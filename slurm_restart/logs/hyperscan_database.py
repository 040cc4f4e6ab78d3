"""Hyperscan's database of fixed texts, compiled once and kept in the user's cache directory."""

import json
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from slurm_restart.logs.rule_cache import RuleCache


def cached_database(texts: Sequence[str], module: Any) -> Any:
    """Return a `hyperscan.Database` that finds the texts; its ids are their positions.

    Args:
        texts: fixed texts, at least one.
        module: the module `hyperscan`.
    """
    # All that the database depends on; what CPU it is for Hyperscan checks itself.
    content = json.dumps([module.__version__, *texts]).encode()
    name = f"hyperscan-{len(content)}-{crc32(content):08x}.db"
    cache = RuleCache.of_user()
    if (database := _load(cache.read_bytes(name), content, module)) is not None:
        return database
    database = _compile(texts, module)
    data = module.dumpb(database)
    cache.write_bytes(name, b"%s\n%08x\n%s" % (content, crc32(data), data))
    return database


def _load(entry: bytes | None, content: bytes, module: Any) -> Any | None:
    """Return the database of an entry; None: damaged, of other texts, or for another CPU."""
    if entry is None:
        return None
    # JSON without indentation has no line feed.
    head, _, rest = entry.partition(b"\n")
    checksum, _, data = rest.partition(b"\n")
    if head != content or checksum != b"%08x" % crc32(data):
        return None
    try:
        database = module.loadb(data, mode=module.HS_MODE_BLOCK)
        database.scratch = module.Scratch(database)
    except module.error:
        return None
    return database


def _compile(texts: Sequence[str], module: Any) -> Any:
    database = module.Database(mode=module.HS_MODE_BLOCK)
    database.compile(
        expressions=[text.encode() for text in texts],
        ids=list(range(len(texts))),
        elements=len(texts),
        flags=0,
        literal=True,
    )
    return database
