"""Text and Markdown pages as roff with the macros of man(7)."""

import re
from collections.abc import Iterable, Iterator

_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")
_EMPHASIS = re.compile(r"(?<!\w)\*([^*\s][^*]*)\*(?!\w)")
_CELL = re.compile(r"(?<!\\)\|")


def escape(text: str) -> str:
    """Return plain text as roff, in ASCII; what would be a request at a line's start is text too.

    A dash stays the character that people copy into a shell.
    """
    found = text.replace("\\", "\\e").replace("-", "\\-")
    found = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in found)
    return f"\\&{found}" if found.startswith((".", "'")) else found


def inline(text: str) -> str:
    """Return a line of Markdown as roff: links without their targets, code and strong text bold."""
    plain = _STRONG.sub(r"`\1`", _LINK.sub(r"\1", text.strip()))
    parts = _CODE.split(plain)
    shown = [
        f"\\fB{escape(part)}\\fR" if index % 2 else _EMPHASIS.sub(r"\\fI\1\\fR", escape(part))
        for index, part in enumerate(parts)
        if part
    ]
    line = "".join(shown)
    return f"\\&{line}" if line.startswith((".", "'")) else line


def block(lines: Iterable[str]) -> str:
    """Return lines that stay as they are."""
    shown = "\n".join(escape(line) for line in lines)
    return f".PP\n.nf\n.RS 4\n{shown}\n.RE\n.fi"


def title(name: str, section: int, release: str, purpose: str) -> str:
    """Return the head of a page, with its section NAME."""
    head = f'.TH "{name.upper()}" {section} "" "slurm_restart {release}" "slurm_restart"'
    return f"{head}\n.SH NAME\n{escape(name)} \\- {escape(purpose)}"


def entry(term: str, text: str) -> str:
    """Return a term, in Markdown, with its explanation below."""
    return f".TP\n{inline(term) or escape('(none)')}\n{inline(text) or escape('(none)')}"


def from_markdown(text: str) -> str:
    """Return the body of a page of Markdown: headings, paragraphs, lists, tables and code."""
    return "\n".join(_blocks(text.splitlines()))


def _blocks(lines: list[str]) -> Iterator[str]:
    place = 0
    while place < len(lines):
        line = lines[place]
        if line.startswith("```"):
            end = lines.index("```", place + 1)
            yield block(lines[place + 1 : end])
        elif line.startswith("|"):
            end = _end(lines, place, "|") - 1
            yield from _table(lines[place : end + 1])
        elif line.startswith("#"):
            end = place
            yield _heading(line)
        elif not line.strip() or line.startswith("<!--"):
            end = place
        else:
            end = _end_of_paragraph(lines, place) - 1
            yield _paragraph(lines[place : end + 1])
        place = end + 1


def _end(lines: list[str], place: int, start: str) -> int:
    while place < len(lines) and lines[place].startswith(start):
        place += 1
    return place


def _end_of_paragraph(lines: list[str], place: int) -> int:
    place += 1
    while place < len(lines) and lines[place].strip():
        if lines[place].startswith(("#", "|", "```", "- ")):
            break
        place += 1
    return place


def _heading(line: str) -> str:
    level, _, text = line.partition(" ")
    return f".SS {inline(text)}" if level == "###" else f".SH {inline(text.upper())}"


def _paragraph(lines: list[str]) -> str:
    text = " ".join(map(str.strip, lines))
    if text.startswith("- "):
        return f".IP \\(bu 2\n{inline(text[2:])}"
    return f".PP\n{inline(text)}"


def _table(lines: list[str]) -> Iterator[str]:
    """Yield the rows of a table: the first cell as a term, the others below with their headings."""
    rows = [
        [cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]] for line in lines
    ]
    head, rows = rows[0], rows[2:]
    for row in rows:
        rest = list(zip(head[1:], row[1:], strict=True))
        named = "; ".join(f"{name}: {cell}" for name, cell in rest[:-1] if cell)
        last = rest[-1][1] if rest else ""
        yield entry(row[0], f"{last} ({named})" if named and last else named or last)
