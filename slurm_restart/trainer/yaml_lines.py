"""Read YAML strictly, with the line of every key, and bounded for any file."""

import errno
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from slurm_restart.errors import ConfigError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import FileTooLargeError, NotRegularFileError, read_bounded
from slurm_restart.trainer.yaml_limits import exceeded_limit

MAX_BYTES = 1 << 20
"""The largest config of the Model Zoo has 23 kB."""
Key = str | int
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG_PREFIX = "tag:yaml.org,2002:"
_MERGE = f"{_TAG_PREFIX}merge"
_STRING = f"{_TAG_PREFIX}str"
_KNOWN_TAGS = frozenset(SafeConstructor.yaml_constructors) - {None} | {_MERGE}


@frozen
class Document:
    """A YAML file whose root is a mapping. `path` is its name in messages."""

    path: str
    text: str
    root: yaml.MappingNode
    data: dict[Any, Any]

    def line(self, *keys: Key) -> int:
        """Return the line, from 1, of a key or list item, or of its nearest existing ancestor."""
        node: yaml.Node = self.root
        line: int = node.start_mark.line
        for key in keys:
            found = _child(node, key)
            if found is None:
                break
            mark, node = found
            line = mark.start_mark.line
        return line + 1

    def node(self, *keys: Key) -> yaml.Node | None:
        """Return the node at a key; None if there is none."""
        node: yaml.Node = self.root
        for key in keys:
            found = _child(node, key)
            if found is None:
                return None
            node = found[1]
        return node

    def raw(self, *keys: Key) -> Any:
        """Return the value at a key with numbers and times as text; None if there is no such key.

        YAML converts `1:00:00` to 3600, which would change a time limit. Flags and null are
        converted.
        """
        node = self.node(*keys)
        return None if node is None else _raw(node)

    def problem(self, keys: tuple[Key, ...], message: str) -> str:
        """Return a line of a message: `trainer.yaml:LINE: key: message`."""
        return f"{self.path}:{self.line(*keys)}: {dotted(keys)}: {message}"


def dotted(keys: tuple[Key, ...]) -> str:
    """Return keys as a dotted name: `trainer[0].trainer.init`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def read(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: not a readable text file of at most `MAX_BYTES`, not YAML, not one mapping,
            duplicate keys, tags beyond plain YAML, or too large with aliases written out.
    """
    return parse(_text(path), str(path))


def parse(text: str, name: str) -> Document:
    """Parse YAML text; `name` is used as the file's path in messages.

    Raises:
        ConfigError: as `read`.
    """
    try:
        problem = exceeded_limit(text, _Loader)
        root = None if problem else yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(name, [_syntax(name, text, error)]) from None
    if problem:
        raise ConfigError(name, [f"{name}:{problem}"])
    if not isinstance(root, yaml.MappingNode):
        got = "an empty file" if root is None else _kind(root)
        raise ConfigError(name, [f"{name}:1: expected a mapping with the key trainer, got {got}"])
    if problems := [f"{name}:{line}" for line in _check(root, (), set())]:
        raise ConfigError(name, problems)
    try:
        data = SafeConstructor().construct_document(root)
    except yaml.YAMLError as error:
        raise ConfigError(name, [_syntax(name, text, error)]) from None
    return Document(path=name, text=text, root=root, data=data)


def _text(path: Path) -> str:
    name = str(path)
    try:
        data = read_bounded(path, MAX_BYTES)
    except FileTooLargeError as error:
        raise ConfigError(name, [f"{name}: {error.strerror}, got {error.size} bytes"]) from None
    except NotRegularFileError as error:
        kind = "a directory" if error.errno == errno.EISDIR else "no regular file"
        raise ConfigError(name, [f"{name}: expected a YAML file, got {kind}"]) from None
    except OSError as error:
        raise ConfigError(name, [f"{name}: expected a YAML file: {error.strerror}"]) from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"{name}:{line}: expected text in UTF-8, got the byte {data[error.start]:#04x}"
        raise ConfigError(name, [problem]) from None
    return text


def _check(node: yaml.Node, keys: tuple[Key, ...], seen: set[int]) -> Iterator[str]:
    """Yield what the trainer's own loader refuses, as `LINE: key: problem`."""
    if id(node) in seen:
        return
    seen.add(id(node))
    where = f"{node.start_mark.line + 1}: {dotted(keys)}".removesuffix(": ")
    if node.tag not in _KNOWN_TAGS:
        yield f"{where}: expected plain YAML, got the tag {node.tag}"
    elif isinstance(node, yaml.ScalarNode) and _value(node) is _BAD:
        yield f"{where}: expected {_kind(node)}, got {node.value[:60]!r}"
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _check(item, (*keys, index), seen)
    elif isinstance(node, yaml.MappingNode):
        yield from _check_mapping(node, keys, seen)


def _check_mapping(node: yaml.MappingNode, keys: tuple[Key, ...], seen: set[int]) -> Iterator[str]:
    lines: dict[Any, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            where = f"{line}: {dotted(keys)}".removesuffix(": ")
            yield f"{where}: expected text as a key, got {_kind(key_node)}"
            continue
        key = _value(key_node)
        name = (*keys, key_node.value)
        yield from _check(key_node, name, seen)
        if key_node.tag != _MERGE and key in lines:
            yield f"{line}: {dotted(name)}: expected each key once, got it in line {lines[key]} too"
        lines.setdefault(key, line)
        yield from _check(value_node, name, seen)


class _Bad:
    pass


_BAD = _Bad()


def _value(node: yaml.ScalarNode) -> Any:
    if node.tag in (_STRING, _MERGE):
        return node.value
    try:
        return SafeConstructor().construct_object(node)
    except (ValueError, OverflowError, LookupError, yaml.YAMLError):
        # Such as the 13th month, an int of 5,000 digits, `!!bool maybe`, or an empty `!!int`.
        return _BAD


def _raw(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        is_text = node.tag not in (f"{_TAG_PREFIX}null", f"{_TAG_PREFIX}bool")
        return node.value if is_text else _value(node)
    if isinstance(node, yaml.SequenceNode):
        return [_raw(item) for item in node.value]
    return {key.value: _raw(value) for key, value in _pairs(node).values()}


def _pairs(node: yaml.Node) -> Mapping[str, tuple[yaml.Node, yaml.Node]]:
    # Merge keys have been flattened into the pairs when the data were made, in front of the
    # mapping's own, so that the last one of a name is the one that counts.
    return {key.value: (key, value) for key, value in node.value}


def _child(node: yaml.Node, key: Key) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the node that gives a key its line, and the node of its value."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        return (node.value[key],) * 2 if key < len(node.value) else None
    return _pairs(node).get(str(key)) if isinstance(node, yaml.MappingNode) else None


_KINDS = {
    "seq": "a list",
    "map": "a mapping",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
    "binary": "base64 text",
}


def _kind(node: yaml.Node) -> str:
    short: str = node.tag.removeprefix(_TAG_PREFIX)
    return _KINDS.get(short, short)


def _syntax(name: str, text: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        detail = " ".join(part for part in (error.context, error.problem) if part)
        return f"{name}:{line}: not YAML: {detail}"
    position = getattr(error, "position", None)
    line = 1 if position is None else text.count("\n", 0, position) + 1
    return f"{name}:{line}: not YAML: {getattr(error, 'reason', error)}"
