import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.finding import Naming, Role, Speaker
from slurm_restart.logs.rule import LogRule, with_literals
from slurm_restart.logs.rule_matcher import MAX_NAMES, RuleMatcher, split_names


def program() -> Speaker:
    return Speaker.PROGRAM


def rule(name: str, pattern: str, blame: Naming | None = None, role: Role = Role.ROOT) -> LogRule:
    return LogRule(
        id=name,
        category=Category.UNKNOWN,
        role=role,
        pattern=pattern,
        meaning="…",
        blame=blame,
    )


def hit(matcher: RuleMatcher, text: str) -> str | None:
    found = matcher.match(text, program)
    return None if found is None else found.rule.id


def test_the_first_rule_that_matches_judges() -> None:
    matcher = RuleMatcher([rule("a", "disk .* full"), rule("b", "full")])
    assert hit(matcher, "the disk is full") == "a"
    assert hit(matcher, "the tank is full") == "b"
    assert hit(matcher, "the tank is empty") is None


def test_a_pattern_is_compiled_only_for_lines_with_all_that_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []
    original = re.compile

    def compiled(source: str) -> re.Pattern[str]:
        tried.append(source)
        return original(source)

    monkeypatch.setattr(re, "compile", compiled)
    disk = replace(rule("a", "disk .{0,80}full"), literals=("disk ",), more_literals=("full",))
    matcher = RuleMatcher([disk])
    assert hit(matcher, "the disk is empty") is None
    assert tried == []
    assert hit(matcher, "the disk is full") == "a"


def test_each_alternative_of_a_pattern_is_tried_only_for_lines_with_its_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []
    original = re.compile
    two = with_literals(rule("a", "(?:disk .{0,9}full|fabric .{0,9}down)"))
    other = with_literals(rule("b", "(?:n3: fabric|disk)"))
    monkeypatch.setattr(re, "compile", lambda text: tried.append(text) or original(text))
    matcher = RuleMatcher([two, other])
    assert hit(matcher, "n3: fabric is down") == "a"
    assert tried == ["fabric .{0,9}down"]
    assert hit(matcher, "n3: fabric is up") == "b"
    assert hit(matcher, "the disk is up") == "b"
    assert hit(matcher, "the fabric is up") is None


@given(
    words=st.lists(st.sampled_from(["disk ", "full", "fabric", " down", "node 7", "ERROR: "])),
    patterns=st.lists(
        st.sampled_from(
            [
                "(?:disk full|fabric.{0,9}down)",
                "(?:ERROR: .{0,20}(?:full|node)|fabric node)",
                "fabric.{0,9}(?:full|node)",
                "disk",
            ]
        ),
        max_size=4,
    ),
)
def test_the_parts_of_patterns_find_what_the_patterns_find(
    words: list[str], patterns: list[str]
) -> None:
    text = "".join(words)
    rules = [rule(f"r{number}", pattern) for number, pattern in enumerate(patterns)]
    first = next((each.id for each in rules if re.search(each.pattern, text)), None)
    assert hit(RuleMatcher([with_literals(each) for each in rules]), text) == first


def test_of_two_forms_of_a_line_the_rule_that_is_tried_first_judges() -> None:
    matcher = RuleMatcher([rule("a", "^disk full"), rule("b", "full"), rule("c", "^n3: disk")])
    whole = matcher.match("n3: disk full", program)
    assert whole is not None
    assert whole.rule.id == "b"
    shorter = matcher.match("disk full", program, whole)
    assert shorter is not None
    assert shorter.rule.id == "a"
    assert matcher.match("n3: disk full", program, shorter) is shorter
    assert matcher.match("nothing", program, whole) is whole


@pytest.mark.parametrize("who", Speaker)
def test_a_rule_is_only_for_speakers_that_can_know(who: Speaker) -> None:
    mistake = replace(rule("a", "full"), category=Category.CONFIG)
    told = replace(mistake, id="b", speakers=(Speaker.SLURM,))
    matcher = RuleMatcher([mistake, told, rule("c", "full")])
    found = matcher.match("full", lambda: who)
    expected = {Speaker.SLURM: "b", Speaker.KERNEL: "c", Speaker.LIBRARY: "c"}
    assert found is not None
    assert found.rule.id == expected.get(who, "a")


def test_names_are_captured_only_where_they_are_to_be_blamed() -> None:
    blaming = RuleMatcher([rule("a", r"lost (?P<node>[\w,]+)?", Naming.NODE)])
    found = blaming.match("lost csx1,csx2", program)
    assert found is not None
    assert found.nodes == ("csx1", "csx2")
    unnamed = blaming.match("lost ", program)
    assert unnamed is not None
    assert unnamed.nodes == ()


def test_rules_of_progress_are_asked_apart() -> None:
    matcher = RuleMatcher([rule("a", "step", role=Role.PROGRESS), rule("b", "full")])
    assert matcher.is_progress("step 1")
    assert not matcher.is_progress("disk full")
    assert hit(matcher, "step 1") is None
    assert list(matcher.suspects(b"step 1\ndisk full\n")) == [(7, 16)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("csx3", ("csx3",)),
        ("csx3,csx5", ("csx3", "csx5")),
        ("csx[1-3,7]", ("csx1", "csx2", "csx3", "csx7")),
        ("r1-[08-10],r2", ("r1-08", "r1-09", "r1-10", "r2")),
        ("r[1-2]n[3-4]", ("r1n3", "r1n4", "r2n3", "r2n4")),
        ("csx[1-", ()),
        ("csx[a-b]", ()),
        ("csx[1--2]", ()),
        ("", ()),
    ],
)
def test_names_of_a_line(text: str, names: tuple[str, ...]) -> None:
    assert split_names(text) == names


def test_a_list_without_end_names_nobody() -> None:
    assert split_names("csx[0-999999999],n[0-999999999]") == ()
    assert split_names(f"csx[0-{MAX_NAMES}]") == ()
