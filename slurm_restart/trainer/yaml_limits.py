"""Limits on YAML, checked before nodes are built: depth, size with aliases, one document."""

from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_DEPTH = 100
MAX_NODES = 200_000
"""Nodes with every alias written out: as many as a traversal of the data visits."""


def exceeded_limit(text: str, loader: Any) -> str | None:
    """Return the limit that a text exceeds, as `LINE: problem`; None: no limit.

    The composer is recursive, that of libyaml without a limit, so the events are counted first,
    which takes no more memory than the deepest branch.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    measure = _Measure()
    for event in yaml.parse(text, Loader=loader):
        if problem := measure.count(event):
            mark = event.start_mark
            return f"{mark.line + 1 if mark else 1}: {problem}"
    return None


@dataclass
class _NodeSize:
    """Nodes and depth of a node with its aliases written out."""

    anchor: str | None
    nodes: int = 1
    depth: int = 0

    def add(self, other: "_NodeSize") -> None:
        self.nodes += other.nodes
        self.depth = max(self.depth, other.depth + 1)


@dataclass
class _Measure:
    """Counts nodes and levels over the events of a file."""

    open: list[_NodeSize] = field(default_factory=list)
    anchors: dict[str, _NodeSize] = field(default_factory=dict)
    documents: int = 0

    def count(self, event: yaml.Event) -> str | None:
        """Count an event; return the exceeded limit, without the line."""
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                return "expected one document, got a second one" if self.documents > 1 else None
            case yaml.AliasEvent():
                return self._alias(event.anchor)
            case yaml.ScalarEvent():
                return self._close(_NodeSize(event.anchor))
            case yaml.CollectionStartEvent():
                self.open.append(_NodeSize(event.anchor))
            case yaml.CollectionEndEvent():
                return self._close(self.open.pop())
        return self._limits(0, len(self.open))

    def _alias(self, anchor: str | None) -> str | None:
        if anchor is not None and anchor in self.anchors:
            return self._close(self.anchors[anchor])
        # An unknown one is left to the composer, which has a message for it.
        inside = any(size.anchor == anchor for size in self.open)
        return (
            f"*{anchor}: expected another anchor, got that of an enclosing node" if inside else None
        )

    def _close(self, size: _NodeSize) -> str | None:
        if size.anchor is not None:
            self.anchors[size.anchor] = size
        if not self.open:
            return None
        self.open[-1].add(size)
        return self._limits(self.open[-1].nodes, len(self.open) + size.depth)

    @staticmethod
    def _limits(nodes: int, depth: int) -> str | None:
        if nodes > MAX_NODES:
            return f"expected at most {MAX_NODES} values with all aliases written out"
        return f"expected at most {MAX_DEPTH} levels" if depth > MAX_DEPTH else None
