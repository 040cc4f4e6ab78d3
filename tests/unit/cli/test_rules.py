from pathlib import Path

import pytest

from contrib.testing.json_output import read_json
from slurm_restart.cli import common
from slurm_restart.cli.restart import group

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "classify.md"
OWN = "rules:\n" + HOWTO.read_text().partition("rules:\n")[2].partition("```")[0]
LINE = "scratchd: server csx3 went away"


@pytest.fixture(autouse=True)
def no_rules_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "scratch.yaml"
    path.write_text(OWN)
    return path


@pytest.fixture
def call(capsys):
    def run(*args):
        with pytest.raises(SystemExit) as caught:
            common.run(group, "csx-restart", ("rules", *map(str, args)))
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return run


def test_all_rules_of_the_package_are_valid(call):
    code, out, _ = call("lint", "--json")
    assert code == 0
    found = read_json("rules-lint", out)
    assert found["problems"] == []
    assert found["rules"] > 100


def test_the_rule_of_the_documentation_is_good_and_judges_its_line(call, own):
    assert call("lint", own)[:2] == (0, "1 rules, no problems\n")
    _, out, _ = call("test", "--json", "--rules", own, f"[rank3]: {LINE}", "step 4 loss 2.5")
    first, second = read_json("rules-test", out)
    assert (first["rule"], first["nodes"], first["label"]) == (
        "site.scratch_server",
        ["csx3"],
        "[rank3]:",
    )
    assert (second["rule"], second["progress"]) == (None, True)
    assert "rule      none: no match" in call("test", LINE)[1]


def test_later_rules_that_match_are_shown(call):
    _, out, _ = call("test", "ModuleNotFoundError: No module named 'flux'")
    assert "rule      python.import (root, code)" in out
    [later] = [line for line in out.splitlines() if line.startswith("later     ")]
    assert later.endswith(" python.exception")


def test_a_rule_can_be_shown(call, own):
    code, out, _ = call("show", "site.scratch_server", "--rules", own, "--json")
    assert code == 0
    shown = read_json("rules-show", out)
    assert shown["origin"] == f"{own}:2"
    assert shown["blame"] == "node"
    assert "pattern     scratchd" in call("show", "site.scratch_server", "--rules", own)[1]


def test_an_unknown_rule_is_reported_with_similar_ones(call):
    code, _, err = call("show", "python.impor")
    assert code == 2
    assert "no rule 'python.impor'; did you mean python.import?" in err


def test_rules_can_be_listed_by_family_and_category(call):
    _, out, _ = call("list", "--family", "python", "--json")
    assert {rule["id"].partition(".")[0] for rule in read_json("rules-list", out)} == {"python"}
    _, out, _ = call("list", "--category", "auth", "--json")
    assert {rule["category"] for rule in read_json("rules-list", out)} == {"auth"}
    assert call("list", "--family", "nope")[0] == 2
    assert call("list", "--category", "nope")[0] == 2


def test_problems_are_reported_with_their_place(call, own):
    own.write_text(OWN.replace("storage.io", "storage").replace("role: root", "role: rot"))
    code, out, _ = call("lint", own)
    assert code == 3
    assert f"{own}:2: site.scratch_server: category: expected one of" in out
    assert f"{own}:2: site.scratch_server: role: expected one of" in out


def test_a_shadowed_rule_is_reported(call, own):
    second = OWN.partition("rules:\n")[2].replace("site.scratch_server", "site.again")
    own.write_text(OWN + second)
    code, out, _ = call("lint", own)
    assert code == 3
    assert f"site.again: examples.positive: site.scratch_server ({own}:2) matches {LINE!r}" in out


def test_rules_that_a_nearer_layer_shadows_or_replaces_are_only_noted(call, tmp_path):
    rules = tmp_path / "config" / "slurm_restart" / "rules.d"
    rules.mkdir(parents=True)
    taking = OWN.replace("'scratchd: server (?P<node>[\\w-]+) went away'", "CUDA out of memory")
    taking = taking.replace("  blame: node\n", "").replace(LINE, "CUDA out of memory")
    second = taking.partition("rules:\n")[2].replace("site.scratch_server", "progress.step")
    (rules / "own.yaml").write_text(taking + second.replace("CUDA out", "HIP out"))
    code, out, _ = call("lint")
    assert code == 0, out
    assert "gpu.out_of_memory: examples.positive: site.scratch_server" in out
    assert "progress.step: replaces that of" in out


def test_an_id_given_in_two_files_is_reported(call, own, tmp_path):
    other = tmp_path / "two.yaml"
    other.write_text(OWN)
    code, out, _ = call("lint", own, other)
    assert code == 3
    assert f"id: given before, in {own}:2" in out
