"""The threat model names, for each threat, tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "threat-model.md"
TEST = re.compile(r"`(?P<file>[\w/]+\.py)::(?P<name>\w+)`")


def rows() -> list[list[str]]:
    """Return the cells of all rows of the page's tables, without their heads."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "threat" and set(row[0]) != {"-"}]


@cache
def functions(path: Path) -> set[str]:
    """Return the names of all functions of a file."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_each_threat_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 3, row
    threat, defence, tests = row
    named = TEST.findall(tests)
    assert threat
    assert defence
    assert named, "no test holds this defence"
    assert TEST.sub("", tests).strip(", ") == ""
    for file, name in named:
        path = TESTS / file
        assert path.is_file(), file
        assert name.startswith("test_")
        assert name in functions(path), f"{file} has no {name}"


def test_every_boundary_is_there() -> None:
    """A boundary of the program that the page forgets is found by its data's name."""
    text = PAGE.read_text()
    for boundary in (
        "Comment",
        "run id",
        "Slurm's answers",
        "hook's environment",
        "site.toml",
        "State directory",
        "queue",
        "Export directory",
        "SlurmUser's privileges",
        "run directory",
        "Logs and rules",
        "Submission",
    ):
        assert boundary in text, boundary
    assert len(rows()) >= 30
