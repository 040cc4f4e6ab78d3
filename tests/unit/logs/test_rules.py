import time
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.finding import Role
from slurm_restart.logs.rule import SEPARATE, LogRule, matches
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.rule_test import match_line
from slurm_restart.logs.rules import load_rules, read_file, read_rules
from slurm_restart.logs.scanner import MAX_LINE

PACKAGED = load_rules(site=None)
MATCHER = RuleMatcher(PACKAGED)

SITE_RULE = """\
- id: {id}
  category: {category}
  role: root
  pattern: 'flux gate {word}'
  meaning: The gate is shut.
  examples:
    positive: ['the flux gate {word}']
"""


def write(path: Path, *rules: tuple[str, str, str]) -> Path:
    body = "".join(SITE_RULE.format(id=i, category=c, word=w) for i, c, w in rules)
    path.write_text("rules:\n" + body)
    return path


def test_no_rule_of_the_package_is_refused() -> None:
    read = read_rules(site=None)
    assert (read.problems, read.replaced) == ((), ())
    assert len(PACKAGED) > 90


@pytest.mark.parametrize("rule", PACKAGED, ids=lambda rule: rule.id)
def test_a_rule_has_examples_of_both_kinds_and_they_hold(rule: LogRule) -> None:
    assert rule.positive
    assert rule.sources
    assert rule.negative
    for line in rule.positive:
        assert matches(rule.pattern, line), line
    for line in rule.negative:
        assert not matches(rule.pattern, line), line


@pytest.mark.parametrize("rule", PACKAGED, ids=lambda rule: rule.id)
def test_no_earlier_rule_takes_a_rules_examples(rule: LogRule) -> None:
    alone = [replace(rule, role=Role.ROOT)]
    matcher = RuleMatcher(alone) if rule.role in SEPARATE else MATCHER
    for line in rule.positive:
        hit = match_line(matcher, line)
        assert hit is not None
        assert hit.rule.id == rule.id, line


@pytest.mark.parametrize("rule", [r for r in PACKAGED if r.blame], ids=lambda rule: rule.id)
def test_a_rule_that_blames_captures_a_name_in_some_example(rule: LogRule) -> None:
    hits = [match_line(MATCHER, line) for line in rule.positive]
    assert any(hit is not None and hit.nodes for hit in hits)


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-05 10:00:00,000 INFO:   | Train Device=CSX, Step=50, Loss=9.4, Rate=1143.1",
        "2026-01-05 10:00:00,000 INFO:   Saved checkpoint model_dir/checkpoint_200.mdl",
        "Epoch 3:  45%|####      | 450/1000 [00:12<00:30, 12.33it/s, loss=2.31]",
        "iteration 20/1000 | lm loss: 6.5E+00 | grad norm: 1.2 | number of nan iterations: 0 |",
        "{'loss': 2.31, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 0.01}",
        "[2026-01-05 10:00:00,1] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, lr=[6e-05]",
        "Saving checkpoint at step 200 to /data/model_dir/checkpoint_200.mdl",
        "validation: accuracy 0.71, perplexity 12.1, tokens per second 33000",
    ],
)
def test_ordinary_output_is_not_suspect(line: str) -> None:
    assert list(MATCHER.suspects(line.encode())) == []


@pytest.mark.parametrize("rule", PACKAGED, ids=lambda rule: rule.id)
def test_no_pattern_is_slow_on_a_line_made_to_be(rule: LogRule) -> None:
    start = time.process_time()
    for line in rule.positive:
        for part in (line, line[:-1], line[: len(line) // 2], line.replace(" ", "")):
            matches(rule.pattern, (part * MAX_LINE)[:MAX_LINE])
            matches(rule.pattern, ("a" * MAX_LINE + part)[-MAX_LINE:])
    assert time.process_time() - start < 2


def test_rules_of_the_nearest_layer_come_first(tmp_path: Path) -> None:
    site = tmp_path / "rules.d"
    site.mkdir()
    write(site / "10-site.yaml", ("gate.shut", "storage.io", "shut"), ("gate.open", "code", "open"))
    run = write(tmp_path / "run.yaml", ("gate.shut", "network.fabric", "shut"))
    loaded = read_rules(run, site=site)
    assert loaded.problems == ()
    assert [rule.id for rule in loaded.rules[:2]] == ["gate.shut", "gate.open"]
    assert loaded.rules[0].category is Category.NETWORK_FABRIC
    assert loaded.rules[2:] == PACKAGED


def test_a_layer_replaces_a_rule_of_the_package(tmp_path: Path) -> None:
    run = write(tmp_path / "run.yaml", ("storage.full", "storage.io", "full"))
    rules = [rule for rule in load_rules(run, site=None) if rule.id == "storage.full"]
    assert [rule.category for rule in rules] == [Category.STORAGE_IO]


def test_a_bad_rule_is_left_out_and_reported_with_its_place(tmp_path: Path) -> None:
    run = write(
        tmp_path / "run.yaml",
        ("gate.bad", "gates", "shut"),
        ("gate.good", "code", "open"),
        ("gate.good", "code", "ajar"),
    )
    loaded = read_rules(run, site=tmp_path / "none")
    assert loaded.rules[0].id == "gate.good"
    assert len(loaded.rules) == 1 + len(PACKAGED)
    first, second = loaded.problems
    assert first.startswith(f"{run}:2: gate.bad: category: expected one of ")
    assert second == f"{run}:16: gate.good: id: given twice in this file"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules: [", ":2: not YAML: "),
        ("- a\n- b\n", ":1: expected `rules:` with a list of rules"),
        ("rules: 3", ":1: expected `rules:` with a list of rules"),
        ("rules:\n- 3\n", ":2: ?: expected a rule: keys and values"),
        ("rules:\n- id: a\n  id: b\n", ":2: a: id: given twice"),
        ("rules: " + "[" * 100_000, ":1: "),
        ("rules:\n" + "- " * 100_000, ":2: expected at most 20 levels"),
        ("\x00", ": not YAML"),
        ("# " + "x" * 1_000_000, ": expected at most 1000000 bytes"),
    ],
)
def test_a_bad_file_is_refused_as_a_whole(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    rules, problems = read_file(path)
    assert rules == []
    assert problems
    assert problems[0].startswith(f"{path}{problem}")


def test_a_missing_file_or_bytes_that_are_no_text(tmp_path: Path) -> None:
    assert read_file(tmp_path / "none.yaml")[1] == [
        f"{tmp_path}/none.yaml: No such file or directory"
    ]
    (tmp_path / "latin.yaml").write_bytes(b"rules: []  # caf\xe9")
    assert "expected UTF-8" in read_file(tmp_path / "latin.yaml")[1][0]


def test_an_empty_file_has_no_rules(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert read_file(tmp_path / "empty.yaml") == ([], [])
