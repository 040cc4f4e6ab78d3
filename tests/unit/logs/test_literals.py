import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.logs import literals
from slurm_restart.logs.literals import Finder, PythonFinder, make_finder

TEXTS = {"disk full": [3, 1], "disk_7": [2], "out of memory": [0], "full": [5]}
NAMES = ("python", "hyperscan")


@pytest.fixture(params=NAMES)
def finder(request: pytest.FixtureRequest) -> Finder:
    return make_finder(TEXTS, request.param)


def test_lines_with_a_text_are_found_whatever_ends_them(finder: Finder) -> None:
    block = b"step 1\ndisk full\rstep 2\r\nfull of disk full\nlast: out of memory"
    assert [block[start:end] for start, end in finder.lines(block)] == [
        b"disk full",
        b"full of disk full",
        b"last: out of memory",
    ]


def test_the_rules_that_need_a_text_of_a_line_are_returned_in_order(finder: Finder) -> None:
    assert list(finder.rules(b"the disk full of disk_7")) == [1, 2, 3, 5]
    assert list(finder.rules(b"nothing")) == []


def test_a_text_is_found_as_it_stands(finder: Finder) -> None:
    assert list(finder.lines(b"di.sk fu.ll\nDISK FULL\n")) == []


words = st.sampled_from(
    [b"disk full", b"disk_7", b"disk_8", b"out of memory", b"step 1", b"\n", b"\r", b" ", b"\xff"]
)


@given(st.lists(words, max_size=30).map(b"".join))
@settings(max_examples=200)
def test_all_finders_find_the_same(block: bytes) -> None:
    first, second = (make_finder(TEXTS, name) for name in NAMES)
    assert list(first.lines(block)) == list(second.lines(block))
    assert list(first.rules(block)) == list(second.rules(block))


def test_the_fastest_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_finder(TEXTS).name == "hyperscan"
    monkeypatch.setattr(literals, "_hyperscan", lambda: None)
    assert make_finder(TEXTS).name == "python"
    with pytest.raises(ValueError, match="hyperscan is not installed"):
        make_finder(TEXTS, "hyperscan")
    with pytest.raises(ValueError, match="expected hyperscan or python"):
        make_finder(TEXTS, "grep")


def test_the_memory_for_lines_is_bounded() -> None:
    finder = PythonFinder(TEXTS)
    for number in range(3 * literals.MAX_KNOWN):
        name = "".join(chr(ord("a") + int(digit)) for digit in str(number)).encode()
        list(finder.lines(b"step " + name + b"\n" + name + b" disk full\n"))
        list(finder.rules(name + b" disk full"))
    assert len(finder._harmless) <= literals.MAX_KNOWN
    assert len(finder._suspicious) <= literals.MAX_KNOWN
