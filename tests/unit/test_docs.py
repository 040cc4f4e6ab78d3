"""The documentation says what the code does, as far as a program can see."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from contrib import docs_run, docs_words
from slurm_restart.cli import restart, sbatch
from slurm_restart.core.decision import stop_rules
from slurm_restart.core.end_rules import end_rules
from slurm_restart.core.journal_events import Action

TOP = Path(__file__).parents[2]
CONTRIBUTING = TOP / "CONTRIBUTING.md"
PAGES = [*sorted(TOP.glob("*.md")), *sorted((TOP / "docs").rglob("*.md"))]
COMMANDS = (TOP / "docs" / "reference" / "commands.md").read_text()
LINK = re.compile(r"\[[^][]*\]\((?P<target>[^()\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    ("path", "text"), docs_run.pages().items(), ids=lambda one: getattr(one, "stem", "")
)
def test_what_is_drawn_from_the_code_is_current(path, text):
    assert path.read_text() == text, f"{name(path)}: run contrib/docs"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page):
    for target in LINK.findall(prose(page)):
        if re.match(r"https?:", target):
            continue
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        assert path.exists(), target
        assert TOP in path.parents, target
        assert not anchor or anchor in anchors(path), target


def test_every_page_is_on_the_map():
    index = TOP / "docs" / "index.md"
    targets = LINK.findall(index.read_text())
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in targets}
    missing = set(docs_run.DOCS.rglob("*.md")) - linked - {index}
    assert sorted(map(name, missing)) == []


def test_the_map_of_the_code_names_every_module():
    package = TOP / "slurm_restart"
    names = [str(path.relative_to(package)) for path in sorted(package.rglob("*.py"))]
    text = CONTRIBUTING.read_text()
    missing = [name for name in names if f"`{name}`" not in text]
    assert [name for name in missing if not name.endswith("__init__.py")] == []


def test_the_ten_lines_stand_in_the_files_that_the_answers_name():
    section = CONTRIBUTING.read_text().split("## Where does this line belong?")[1].split("\n## ")[0]
    lines = dict(re.findall(r"^(\d+)\. `(.+)`$", section, re.MULTILINE))
    answers = dict(re.findall(r"^\| (\d+) \| `(.+?)` \|", section, re.MULTILINE))
    assert sorted(map(int, lines)) == sorted(map(int, answers)) == list(range(1, 11))
    assert len(set(answers.values())) == 10
    sources = {
        path: [line.strip() for line in path.read_text().splitlines()]
        for path in (TOP / "slurm_restart").rglob("*.py")
    }
    for number, line in lines.items():
        holders = [path for path, source in sources.items() if line in source]
        assert holders == [TOP / "slurm_restart" / answers[number]], line


def help_of(command: click.Command, *words: str) -> str:
    result = CliRunner().invoke(command, [*words, "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("command", [None, *restart.COMMANDS])
def test_every_option_of_csx_restart_is_described(command):
    shown = help_of(restart.group, *([command] if command else []))
    options = set(re.findall(r"--[a-z][a-z-]*", shown))
    assert options
    assert [option for option in sorted(options) if option not in COMMANDS] == []


def test_every_option_of_csx_sbatch_is_described():
    options = set(re.findall(r"--[a-z][a-z-]*", help_of(sbatch.command)))
    assert {"--mode", "--dry-run"} <= options
    assert [option for option in sorted(options) if option not in COMMANDS] == []


def test_no_word_stands_for_a_rule_that_is_gone():
    ids = {rule for rule, _, _ in end_rules()}
    assert set(docs_words.RULES) == ids
    assert set(docs_words.STOPS) == set(stop_rules())
    assert set(docs_words.ACTIONS) == {action.value for action in Action}
