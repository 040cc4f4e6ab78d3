import os
import pwd
from pathlib import Path

import pytest

from slurm_restart.logs import rule_cache, rules
from slurm_restart.logs.compiled_rules import FileRules
from slurm_restart.logs.rule_cache import RuleCache
from slurm_restart.logs.rules import read_file

TEXT = """\
rules:
- id: gate.shut
  category: code
  role: root
  pattern: 'flux gate shut'
  meaning: The gate is shut.
  examples:
    positive: ['the flux gate shut']
- id: gate.bad
"""
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "slurm_restart" / "rules"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(TEXT)
    return path


def forbid_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_args: object) -> FileRules:
        raise AssertionError("the file is parsed again")

    monkeypatch.setattr("slurm_restart.logs.rule_yaml.parse_rules", parse)


def test_a_validated_file_is_not_parsed_again(
    cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_file(source)
    assert [rule.id for rule in first.rules] == ["gate.shut"]
    assert first.problems
    assert [entry.suffix for entry in cache.iterdir()] == [".json"]
    forbid_parsing(monkeypatch)
    again = read_file(source)
    assert again == first
    assert again.rules[0].origin == f"{source}:2"
    assert again.rules[0].literals == ("flux gate shut",)


def test_a_changed_file_is_parsed_again(cache: Path, source: Path) -> None:
    read_file(source)
    source.write_text(TEXT.replace("gate.shut", "gate.closed"))
    assert [rule.id for rule in read_file(source).rules] == ["gate.closed"]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"rules": [1]}', b"\xff"])
def test_a_damaged_entry_is_replaced(cache: Path, source: Path, content: bytes) -> None:
    first = read_file(source)
    [entry] = cache.iterdir()
    good = entry.read_bytes()
    entry.write_bytes(content)
    assert read_file(source) == first
    assert entry.read_bytes() == good


def test_a_fifo_or_a_link_in_place_of_an_entry_is_not_read(cache: Path, source: Path) -> None:
    first = read_file(source)
    [entry] = cache.iterdir()
    content = entry.read_bytes()
    entry.unlink()
    os.mkfifo(entry)
    assert read_file(source) == first
    assert entry.read_bytes() == content
    (target := cache.parent / "target").write_bytes(content)
    entry.unlink()
    entry.symlink_to(target)
    assert RuleCache.of_user().read_bytes(entry.name) is None


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    assert read_file(source).rules
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert RuleCache.of_user().directory is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert read_file(source).rules


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")
def test_the_tree_of_another_user_is_neither_read_nor_written(
    tmp_path: Path, cache: Path, source: Path
) -> None:
    home = tmp_path / "cache"
    home.mkdir()
    os.chown(home, NOBODY, -1)
    assert read_file(source).rules
    assert list(home.iterdir()) == []
    cache.mkdir(parents=True)
    os.chown(cache, NOBODY, -1)
    assert read_file(source).rules
    assert list(cache.iterdir()) == []


def test_a_directory_that_others_can_write_is_not_used(cache: Path, source: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o770)
    assert read_file(source).rules
    assert list(cache.iterdir()) == []


def test_the_number_of_entries_is_bounded(
    cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_cache, "MAX_ENTRIES", 3)
    for number in range(6):
        source.write_text(TEXT.replace("gate.shut", f"gate.n{number}"))
        rules.read_file(source)
    assert len(list(cache.iterdir())) == 3
