from pathlib import Path

import pytest

from slurm_restart.logs import hyperscan_database
from slurm_restart.logs.literals import make_finder

TEXTS = {"disk full": [3, 1], "out of memory": [0]}
BLOCK = b"step 1\ndisk full\nout of memory\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "slurm_restart" / "rules"


def found() -> list[bytes]:
    finder = make_finder(TEXTS, "hyperscan")
    assert list(finder.rules(b"disk full, out of memory")) == [0, 1, 3]
    return [BLOCK[start:end] for start, end in finder.lines(BLOCK)]


def test_a_database_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found() == [b"disk full", b"out of memory"]
    assert len(list(cache.iterdir())) == 1
    monkeypatch.delattr(hyperscan_database, "_compile")
    assert found() == [b"disk full", b"out of memory"]


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "texts", "version"])
def test_a_damaged_or_other_database_is_compiled_again(cache: Path, damage: str) -> None:
    found()
    [entry] = cache.iterdir()
    good = entry.read_bytes()
    bad = {
        "empty": b"",
        "cut": good[:-1000],
        "changed": good[:-1000] + b"x" * 1000,
        "texts": good.replace(b"disk full", b"disk null"),
        "version": good.replace(b'["', b'["9', 1),
    }[damage]
    entry.write_bytes(bad)
    assert found() == [b"disk full", b"out of memory"]
    assert entry.read_bytes() == good


def test_without_a_cache_it_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert found() == [b"disk full", b"out of memory"]
