"""Names that were replaced, because they were figures of speech or meant two things, stay away.

CONTRIBUTING.md has the glossary. CHANGELOG.md may name what was renamed, and ALLOWED lists the
places that still read what an earlier release wrote.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
SUFFIXES = {".md", ".py", ".j2", ".sh", ".toml", ".service", ".timer", ""}
SCANNED = ("slurm_restart", "contrib", "templates", "docs", "README.md", "CONTRIBUTING.md")
QUOTES_CODE = {"contrib/mutations.toml"}
EXAMPLES = TOP / "contrib" / "examples"
"""Trainers, in which an array has a shape and a text a digest, as is usual."""

MODULES = {
    "core": "classify diagnosis digest pool ranking refit termination verdict",
    "control": "carry_out environment follow_up gather handle install pending phases slots trace",
    "supervise": ("comment conclude fence guardian judge output progress resume settle watch"),
    "logs": "context engine reader trial",
    "submit": "execute planning remarks",
    "slurm": "ask port refusal",
}
NAME = re.compile(
    r"(\w+_)?(Digest|DigestError|Fate|Ghost|GhostEvent|Guardian|Shape|Surroundings|Termination"
    r"|WroteEvent|digest|fate|fold|folded|ghosts?|guardian|refit|surroundings|told)(_\w+)?"
    r"|it|one|he"
)
PHRASES = [
    r"digests?",
    r"ghosts?",
    r"guardians?",
    r"re-?fit(ted|s)?",
    r"silence",
    r"ended_silently|supervisor\.silent",
    r"whoever",
    r"(ended )?without a word",
    r"last word",
    r"(own|job's|jobs'|supervisor's|trainer's|attempt's) word",
    r"speaks? of",
    r"spoken",
    r"hand(s|ed)? on",
    r"lets? go",
    r"folds? (of|over)",
    r"(its|a job's|job a|the whole) shape",
    r"job\.(completed_)?word",
    r"verdicts?",
]
ALLOWED = {
    "slurm_restart/control/site.py": {"ghost_after", "follow_up"},
    "slurm_restart/core/record_reader.py": {"digest", "ghost", "refit", "wrote"},
}
"""Names of release 0.1 in its settings and journals, by the file that reads them."""


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


def scanned() -> list[Path]:
    found = []
    for entry in SCANNED:
        path = TOP / entry
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [one for one in inside if one.is_file() and one.suffix in SUFFIXES]
    return [
        path for path in found if name(path) not in QUOTES_CODE and "__pycache__" not in path.parts
    ]


FILES = scanned()
PYTHON = [path for path in FILES if path.suffix == ".py" and EXAMPLES not in path.parents]


def tokens(path: Path) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(path.read_text()).readline)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that people read: of a program, its comments and texts."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text().splitlines(), 1)
        return
    for token in tokens(path):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def allowed(path: Path, text: str) -> str:
    for known in ALLOWED.get(name(path), ()):
        text = re.sub(rf"\b{known}\b", "", text)
    return text


@pytest.mark.parametrize("package", MODULES)
def test_no_module_has_a_former_name_again(package: str) -> None:
    former = MODULES[package].split()
    there = {path.stem for path in (TOP / "slurm_restart" / package).glob("*.py")}
    assert sorted(there & set(former)) == []
    mention = re.compile(rf"\b{package}(?:/({'|'.join(former)})\.py|\.({'|'.join(former)}))\b")
    found = [
        f"{name(path)}:{number}: {match[0]}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := mention.search(line))
    ]
    assert found == []


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_no_identifier_is_a_former_name(path: Path) -> None:
    found = [
        f"{name(path)}:{token.start[0]}: {token.string}"
        for token in tokens(path)
        if token.type == tokenize.NAME and NAME.fullmatch(token.string)
    ]
    assert found == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_text_uses_a_former_phrase(path: Path) -> None:
    former = re.compile(rf"\b(?:{'|'.join(PHRASES)})\b", re.IGNORECASE)
    found = [
        f"{name(path)}:{number}: {match[0]}: {line.strip()}"
        for number, line in prose(path)
        if (match := former.search(allowed(path, line)))
    ]
    assert found == []
