from slurm_restart.core.category import Category
from slurm_restart.core.finding import Naming, Role
from slurm_restart.logs import engine as engine_module
from slurm_restart.logs.engine import Engine
from slurm_restart.logs.rule import Rule


def rule(name: str, pattern: str, blame: Naming | None = None, role: Role = Role.ROOT) -> Rule:
    return Rule(
        id=name,
        category=Category.UNKNOWN,
        role=role,
        pattern=pattern,
        meaning="…",
        blame=blame,
    )


def hit(engine: Engine, text: str) -> str | None:
    found = engine.match(text)
    return None if found is None else found.rule.id


def test_the_first_rule_that_matches_judges() -> None:
    engine = Engine([rule("a", "disk .* full"), rule("b", "full")])
    assert hit(engine, "the disk is full") == "a"
    assert hit(engine, "the tank is full") == "b"
    assert hit(engine, "the tank is empty") is None


def test_names_are_captured_only_where_they_are_to_be_blamed() -> None:
    blaming = Engine([rule("a", r"lost (?P<node>[\w,]+)?", Naming.NODE)])
    found = blaming.match("lost csx1,csx2")
    assert found is not None
    assert found.nodes == ("csx1", "csx2")
    unnamed = blaming.match("lost ")
    assert unnamed is not None
    assert unnamed.nodes == ()


def test_suspects_are_lines_by_number_whatever_ends_them() -> None:
    engine = Engine([rule("a", r"disk \d+ full")], also=("Traceback",))
    block = b"step 1\rdisk 3 full\nTraceback\r\nstep 2\nfull tank"
    assert engine.sift(block) == {1, 2}


def test_digits_and_signs_do_not_hide_or_make_a_suspect() -> None:
    engine = Engine([rule("a", r"disk_\d+ full")])
    assert engine.sift(b"disk_77 full\n") == {0}
    assert engine.sift(b"di.sk_77 fu.ll\n") == {0}
    assert hit(engine, "di.sk_77 fu.ll") is None


def test_a_block_that_is_not_remembered_changes_nothing() -> None:
    engine = Engine([rule("a", "disk full")])
    engine.sift(b"step\n", remember=False)
    assert engine._harmless == set()


def test_rules_of_progress_are_asked_apart() -> None:
    engine = Engine([rule("a", "step", role=Role.PROGRESS), rule("b", "full")])
    assert engine.is_progress("step 1")
    assert not engine.is_progress("disk full")
    assert hit(engine, "step 1") is None
    assert engine.sift(b"step 1\ndisk full\n") == {1}


def test_memory_for_lines_is_bounded() -> None:
    engine = Engine([rule("a", "disk full")])
    for number in range(3 * engine_module.MAX_SHAPES):
        name = "".join(chr(ord("a") + int(digit)) for digit in str(number)).encode()
        engine.sift(b"step " + name + b"\n" + name + b" disk full\n")
        engine.match(name.decode() + " disk full")
    assert len(engine._harmless) <= engine_module.MAX_SHAPES
    assert len(engine._suspicious) <= engine_module.MAX_SHAPES
