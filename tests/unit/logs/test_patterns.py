import pytest

from slurm_restart.logs.patterns import branches, danger, letters, literals, more_literals


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        (r"Node failure on (?P<node>[\w.-]+)", {"Node failure on "}),
        (r"^(?:[\w.]*\.)?(?:ImportError|TypeError)\b", {"ImportError", "TypeError"}),
        (r"(?:one|two) short: (?:disk|quota) full", {" short: disk", " short: quota"}),
        (r"(?:prefix )?needed text(?: suffix)?", {"needed text"}),
        (r"(?:needed ){2,3}x", {"needed "}),
        (r"fail(?:ed|ure)", {"failed", "failure"}),
    ],
)
def test_every_match_holds_a_fixed_text(pattern: str, needed: set[str]) -> None:
    assert literals(pattern) == needed


@pytest.mark.parametrize(
    "pattern", [r"\d+", ".*", r"(?i)error", "a|error", r"[Ee]rr?\b", "", "1234"]
)
def test_a_pattern_without_fixed_text_has_none(pattern: str) -> None:
    assert literals(pattern) == frozenset()


def test_letters_leave_out_everything_else() -> None:
    assert letters("[Errno 28] No space é") == "ErrnoNospace"


@pytest.mark.parametrize(
    "pattern",
    [
        r"x(a+)+b",
        r"x(?:\w+ )*abc",
        r"\S+ failed",
        r"(?:a?)\w*failed",
        r"x(?:a{2,}){5,}",
        r"\b\d+ x",
    ],
)
def test_slow_patterns_are_dangerous(pattern: str) -> None:
    assert danger(pattern) is not None


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\S+ failed",
        r"x\S+ failed",
        r"(?:\w{1,20} ){1,5}abc",
        r"^(?:[\w.]*\.)?Error",
        r"x(?:a+|b)c",
    ],
)
def test_bounded_or_anchored_patterns_are_not(pattern: str) -> None:
    assert danger(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        # Most lines of a failed job hold such a word, and few of them the other text.
        ("vader.{0,9}(?:error|failed)", {"vader"}),
        ("(?:error|failed).{0,9}yaml[.]", {"yaml."}),
        # A text of three letters is no better.
        ("NFS.{0,9}error", {"error"}),
        ("error with", {"error with"}),
    ],
)
def test_texts_that_are_rare_among_errors_are_preferred(pattern: str, needed: set[str]) -> None:
    assert literals(pattern) == needed


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        ("disk .{0,80}(?:full|slow)", {"full", "slow"}),
        ("(?:ERROR|FATAL) .{0,80}(?:[Oo]verflow|NaN)", {"verflow", "NaN"}),
        ("^(?=.{0,80}ends?$).{0,40}(?:stopped|aborted)", {"end"}),
        # What the first texts hold anyway, or what is too short, is not worth looking for.
        ("error: (?:disk|fabric)", set()),
        ("disk: [0-9]", set()),
        ("disk.{0,9}(?:ok|a)", set()),
        ("(?:disk|fabric.{0,9}down)", set()),
        ("disk(?!.{0,80}full)", set()),
        ("disk(?: .{0,80}full)?", set()),
        ("(?i)disk .{0,80}full", set()),
    ],
)
def test_further_texts_that_every_match_holds(pattern: str, needed: set[str]) -> None:
    assert more_literals(pattern) == needed


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("(?:disk full|fabric)", ["disk full", "fabric"]),
        (r"(?:disk (?:a|b)|[|)]fabric|\|rank\)|[]|]host)",
         ["disk (?:a|b)", "[|)]fabric", r"\|rank\)", "[]|]host"]),
        # It is no alternation, or the group ends before the pattern does.
        ("(?:disk full)", []),
        ("disk|fabric", []),
        ("(?:disk|fabric) (?:full|down)", []),
        ("(?:disk|fabric) full", []),
        ("^(?:disk|fabric)", []),
        # Not every alternative has a text of its own.
        (r"(?:disk|\d+)", []),
        ("(?:(?P<node>disk)|fabric)", []),
    ],
)  # fmt: skip
def test_alternatives_of_a_pattern(pattern: str, parts: list[str]) -> None:
    assert [pattern[start:end] for start, end in branches(pattern)] == parts
