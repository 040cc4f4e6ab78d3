import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.logs import compiled_rules, rules
from slurm_restart.logs.compiled_rules import (
    FileRules,
    PackageRules,
    compile_package,
    content_key,
    from_data,
    to_data,
)
from slurm_restart.logs.rule import LogRule, with_literals
from slurm_restart.logs.rule_yaml import parse_rules
from slurm_restart.logs.rules import COMPILED_RULES, PACKAGE_RULES, files_of, load_rules

FILES = files_of(PACKAGE_RULES)
MAX_PATTERNS = 75
"""Patterns that a small log may need; there are more than 300 in the package."""


def parsed(path: Path) -> FileRules:
    return FileRules(*parse_rules(path, path.read_bytes()))


def all_fields(rule: LogRule) -> dict[str, Any]:
    return {field.name: getattr(rule, field.name) for field in fields(rule)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_compiled_form_equals_the_yaml_file_in_all_rules_and_fields(path: Path) -> None:
    compiled = PackageRules.load(COMPILED_RULES).rules(path, path.read_bytes())
    assert compiled is not None
    expected = parsed(path)
    assert compiled.problems == expected.problems == []
    assert list(map(all_fields, compiled.rules)) == list(map(all_fields, expected.rules))


def test_the_compiled_literals_are_those_of_the_patterns() -> None:
    for rule in load_rules(site=None):
        bare = replace(rule, literals=(), more_literals=(), branches=())
        assert all_fields(with_literals(bare)) == all_fields(rule)


def test_a_compiled_form_of_other_content_is_not_used(tmp_path: Path) -> None:
    source = tmp_path / FILES[0].name
    source.write_bytes(FILES[0].read_bytes())
    compiled = tmp_path / "compiled.json"
    compiled.write_bytes(compile_package([(source, source.read_bytes(), parsed(source))]))
    assert PackageRules.load(compiled).rules(source, source.read_bytes()) is not None
    source.write_bytes(source.read_bytes().replace(b"meaning: ", b"meaning: In short: "))
    assert PackageRules.load(compiled).rules(source, source.read_bytes()) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 0, "files": {"k": {}}}', '{"a": 1}'])
def test_a_compiled_file_that_is_damaged_or_of_another_format_is_not_used(
    tmp_path: Path, text: str
) -> None:
    compiled = tmp_path / "compiled.json"
    compiled.write_text(text)
    assert PackageRules.load(compiled).rules(FILES[0], FILES[0].read_bytes()) is None
    assert PackageRules.load(tmp_path / "none.json").rules(FILES[0], FILES[0].read_bytes()) is None


def test_another_version_of_the_package_has_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_key(b"rules: []")
    monkeypatch.setattr(compiled_rules, "__version__", "99")
    assert content_key(b"rules: []") != before


def test_without_a_compiled_form_the_yaml_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rules, "COMPILED_RULES", tmp_path / "none.json")
    from_yaml = load_rules(site=None)
    assert list(from_yaml) == [rule for path in FILES for rule in parsed(path).rules]
    assert list((tmp_path / "cache").rglob("*.json"))
    assert load_rules(site=None) == from_yaml


def test_problems_and_places_are_those_of_the_path_at_hand(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n- id: a\n")
    found = parsed(path)
    moved = tmp_path / "elsewhere.yaml"
    data = json.loads(json.dumps(to_data(path, found)))
    assert from_data(moved, data).problems == [
        problem.replace(str(path), str(moved)) for problem in found.problems
    ]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"rules": 3, "problems": []},
        {"rules": [[]], "problems": []},
        {"rules": [{"origin": ":1"}], "problems": []},
        {"rules": [{"origin": ":1", "id": 3}], "problems": []},
        {"rules": [{"origin": ":1", "category": "x"}], "problems": []},
        {"rules": [{"origin": ":1", "colour": "red"}], "problems": []},
        {"rules": [{"origin": ":1", "sources": 3}], "problems": []},
        {"rules": [{"origin": ":1", "branches": [[0, 3, ["a"]]]}], "problems": []},
        {"rules": [{"origin": ":1", "branches": [["0", 3, ["a"], []]]}], "problems": []},
        {"rules": [{"origin": ":1", "branches": [[0, 3, [1], []]]}], "problems": []},
        {"rules": [], "problems": [3]},
    ],
)
def test_data_of_another_form_is_refused(tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_data(tmp_path / "rules.yaml", data)


CLASSIFY = """
import re, sys
compiled = []
original = re.compile
re.compile = lambda *args, **kw: (compiled.append(args[0]), original(*args, **kw))[1]
from slurm_restart.cli import common
from slurm_restart.cli.restart import group
compiled.clear()
try:
    common.run(group, "csx-restart", ["classify", sys.argv[1]])
except SystemExit as end:
    assert not end.code, end.code
heavy = {"yaml", "jinja2", "h5py", "ClusterShell", "hyperscan", "numpy", "concurrent.futures",
         "subprocess", "importlib.metadata", "slurm_restart.slurm", "slurm_restart.supervise"}
print(sorted(heavy & set(sys.modules)), len(compiled))
"""


def test_classify_of_a_small_log_imports_and_compiles_little(tmp_path: Path) -> None:
    log = tmp_path / "small.log"
    log.write_text("step 1 loss 2.5\nRuntimeError: NCCL error: ncclSystemError\n" * 20)
    done = subprocess.run(
        [sys.executable, "-P", "-c", CLASSIFY, str(log)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    modules, patterns = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert modules == "[]"
    assert int(patterns) < MAX_PATTERNS
