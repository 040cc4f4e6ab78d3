from slurm_restart.core.category import Category
from slurm_restart.core.finding import Naming, Role
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher


def rule(name: str, pattern: str, blame: Naming | None = None, role: Role = Role.ROOT) -> LogRule:
    return LogRule(
        id=name,
        category=Category.UNKNOWN,
        role=role,
        pattern=pattern,
        meaning="…",
        blame=blame,
    )


def hit(engine: RuleMatcher, text: str) -> str | None:
    found = engine.match(text)
    return None if found is None else found.rule.id


def test_the_first_rule_that_matches_judges() -> None:
    engine = RuleMatcher([rule("a", "disk .* full"), rule("b", "full")])
    assert hit(engine, "the disk is full") == "a"
    assert hit(engine, "the tank is full") == "b"
    assert hit(engine, "the tank is empty") is None


def test_names_are_captured_only_where_they_are_to_be_blamed() -> None:
    blaming = RuleMatcher([rule("a", r"lost (?P<node>[\w,]+)?", Naming.NODE)])
    found = blaming.match("lost csx1,csx2")
    assert found is not None
    assert found.nodes == ("csx1", "csx2")
    unnamed = blaming.match("lost ")
    assert unnamed is not None
    assert unnamed.nodes == ()


def test_rules_of_progress_are_asked_apart() -> None:
    engine = RuleMatcher([rule("a", "step", role=Role.PROGRESS), rule("b", "full")])
    assert engine.is_progress("step 1")
    assert not engine.is_progress("disk full")
    assert hit(engine, "step 1") is None
    assert list(engine.suspects(b"step 1\ndisk full\n")) == [(7, 16)]
