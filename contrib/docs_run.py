"""Writes what the documentation draws from the code, or checks with --check that it is current."""

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path

import click

from contrib import json_schemas
from contrib.docs_words import ACTIONS, RULES, STOPS
from contrib.failure_bench_parts import figures
from slurm_restart import errors
from slurm_restart.cli import doctor, restart, sbatch
from slurm_restart.control.checks.known_bugs import KNOWN_BUGS, format_release
from slurm_restart.control.doctor import CHECKS
from slurm_restart.core import decision
from slurm_restart.core.category import SLURM_ONLY, Category
from slurm_restart.core.end_rules import SELF_REPORT_RULES, end_rules
from slurm_restart.core.finding import Role
from slurm_restart.core.journal_events import Action
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rules import PACKAGE_RULES, files_of, read_file
from slurm_restart.submit.option_reference import reference
from slurm_restart.trainer.checkpoint_forms import FORMS, CheckpointForm
from slurm_restart.trainer.run_plan import CheckpointFormat

DOCS = Path(__file__).resolve().parents[1] / "docs"
SOURCE = DOCS.parent / "slurm_restart"
SECTION = re.compile(
    r"(?P<begin><!-- drawn by contrib/docs: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- until here -->)",
    re.DOTALL,
)

NONE = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(cell, line))} |\n" for line in lines)


def cell(text: str) -> str:
    """A text that does not end its cell."""
    return text.replace("|", "\\|")


# --- how an end becomes a decision ---------------------------------------------------------------


def categories() -> str:
    """What each category means for a restart."""

    def row(category: Category) -> tuple[str, ...]:
        counts = "if no progress" if category.counts else "never"
        restarts = category.restart.value
        return (
            f"`{category.value}`",
            category.meaning,
            restarts,
            NONE if restarts == "no" else counts,
            NONE if restarts == "no" else category.nodes.value,
        )

    rows = (row(category) for category in Category)
    return table(("category", "meaning", "restart?", "counts?", "excluded nodes"), rows)


def only_slurm() -> str:
    """The categories that no job can give itself."""
    names = sorted(f"`{category.value}`" for category in SLURM_ONLY)
    return f"{', '.join(names)}\n"


def classification() -> str:
    """The rules that give an end its category, in order."""
    rows = []
    for number, (rule, category, confidence) in enumerate(end_rules(), 1):
        name = "as reported" if rule in SELF_REPORT_RULES else f"`{category.value}`"
        rows.append((str(number), f"`{rule}`", RULES[rule], name, confidence.value))
    return table(("", "rule", "when", "category", "confidence"), rows)


def stop_rules() -> str:
    """The rules that end a run, in order."""
    rows = (
        (str(number), f"`{stop}`", STOPS[stop])
        for number, stop in enumerate(decision.stop_rules(), 1)
    )
    return table(("", "rule", "when"), rows)


def actions() -> str:
    """What is done about an end."""
    rows = (
        (f"`{action.value}`", "yes" if action.restarts else "no", ACTIONS[action.value])
        for action in Action
    )
    return table(("action", "runs again?", "what is done"), rows)


# --- commands ------------------------------------------------------------------------------------


def paragraphs(text: str) -> str:
    """A docstring as Markdown; what stands behind a backspace keeps its lines."""
    parts = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in part.splitlines()]
        if lines[0] == "\b":
            parts.append("```\n" + "\n".join(lines[1:]) + "\n```")
        else:
            parts.append(" ".join(lines))
    return "\n\n".join(parts)


def option_row(option: click.Option) -> tuple[str, str]:
    """Names and help of an option."""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if not option.is_flag and not option.count:
        names += f" {option.metavar or option.type.name.upper()}"
    default = ""
    if option.show_default:
        shown = option.show_default if isinstance(option.show_default, str) else option.default
        default = f" Default: {shown}."
    needed = " Required." if option.required else ""
    return names, f"{option.help or ''}{needed}{default}"


def usage(name: str, command: click.Command) -> str:
    """The command line in one line."""
    words = ["csx-restart", name]
    if any(isinstance(parameter, click.Option) for parameter in command.params):
        words.append("[OPTIONS]")
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            text = parameter.metavar or str(parameter.name).upper()
            words.append(text if parameter.required or text.startswith("[") else f"[{text}]")
    if isinstance(command, click.Group):
        words.append("COMMAND")
    return " ".join(words)


def restart_commands() -> str:
    """csx-restart, command by command."""
    return "\n".join(command_parts(restart.group, ""))


def examples(command: click.Command) -> str:
    """The examples of a command, as lines of a shell."""
    lines = (command.epilog or "").removeprefix("\b\nExamples:\n").splitlines()
    return "```sh\n" + "".join(f"{line.strip()}\n" for line in lines) + "```\n"


def command_parts(group: click.Group, before: str) -> list[str]:
    """The commands of a group, and those of the groups inside it."""
    context = click.Context(group)
    parts = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        whole = f"{before}{name}"
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        rows = [*map(option_row, options), ("`-h`, `--help`", "Show the help and exit.")]
        parts.append(
            f"### csx-restart {whole}\n\n```\n{usage(whole, command)}\n```\n\n"
            f"{paragraphs(command.help or '')}\n\n{table(('option', 'meaning'), rows)}\n"
            f"{examples(command)}"
        )
        if isinstance(command, click.Group):
            parts += command_parts(command, f"{whole} ")
    return parts


def sbatch_help() -> str:
    """What `csx-sbatch --help` prints."""
    return f"```\n{sbatch.HELP.rstrip()}\n```\n"


def exit_codes() -> str:
    """The exit codes of the package's errors."""
    kinds = [parameter for parameter in vars(errors).values() if isinstance(parameter, type)]
    errors_only = [kind for kind in kinds if issubclass(kind, errors.CsxError)]
    # One without a code of its own is a case of its base class.
    found = sorted((kind.exit_code, kind) for kind in errors_only if "exit_code" in vars(kind))

    def meaning(kind: type) -> str:
        first = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        return re.sub(r"(?<=\.) Exit code \d+.*$", "", first)

    return table(("code", "meaning"), ((str(code), meaning(kind)) for code, kind in found))


# --- rules over the log --------------------------------------------------------------------------


def log_rules() -> str:
    """The package's rules, a table for each file of them, in the order in which they are tried."""
    parts = []
    for path in files_of(PACKAGE_RULES):
        title = path.read_text().partition("\n")[0].lstrip("# ").partition(". ")[0].rstrip(".")
        parts.append(f"## {title}\n\n`{path.name}`\n\n{log_table(read_file(path)[0])}")
    return "\n".join(parts)


def log_table(known: Sequence[LogRule]) -> str:
    """One row a rule."""

    def row(rule: LogRule) -> tuple[str, ...]:
        kind = f"`{rule.category.value}`"
        if rule.role is Role.KIND:
            kind = f"{kind} ({rule.role.value})"
        elif rule.role is not Role.ROOT:
            kind = rule.role.value
        names = f" Names: {rule.blame.value}." if rule.blame else ""
        remedy = f" *{rule.remedy}*" if rule.remedy else ""
        text = f"{rule.meaning}{remedy}{names}"
        return f"`{rule.id}`", kind, rule.confidence.value, text, "; ".join(rule.sources)

    return table(
        ("rule", "category or role", "confidence", "meaning, *remedy*", "known from"),
        map(row, known),
    )


# --- the checks of an installation ---------------------------------------------------------------


def doctor_checks() -> str:
    """The checks of csx-restart doctor, in the order of its output."""
    rows = ((f"`{check.id}`", check.meaning) for check in (*CHECKS, doctor.BACKEND))
    return table(("check", "what is checked"), rows)


def slurm_bugs() -> str:
    """Slurm's own bugs that concern requeued jobs, by release."""
    rows = (
        (
            f"`{bug.id}`",
            f"{format_release(bug.since)} to before {format_release(bug.fixed)}",
            bug.where,
            bug.effect,
            bug.remedy or NONE,
        )
        for bug in KNOWN_BUGS
    )
    head = ("bug", "releases", "where", "what happens", "until the upgrade")
    return table(head, rows)


# --- the map of the code -------------------------------------------------------------------------

PACKAGES = (
    "cli",
    "submit",
    "supervise",
    "control",
    "control/checks",
    "control/installation",
    "slurm",
    "trainer",
    "trainer/probes",
    "logs",
    "core",
)


def modules() -> str:
    """Every module with the first sentence of its docstring, package by package."""
    parts = [f"### slurm_restart\n\n{module_table(SOURCE)}"]
    for package in PACKAGES:
        about = first_sentence(SOURCE / package / "__init__.py")
        parts.append(f"### slurm_restart/{package}\n\n{about}\n\n{module_table(SOURCE / package)}")
    return "\n".join(parts)


def module_table(folder: Path) -> str:
    """The modules of a folder, each with what it is for."""
    paths = (path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py")
    rows = ((f"`{path.relative_to(SOURCE)}`", first_sentence(path)) for path in paths)
    return table(("module", "what it is for"), rows)


def first_sentence(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


# --- the forms of checkpoints --------------------------------------------------------------------


def checkpoint_forms() -> str:
    """Every format with its names and what shows that a checkpoint is complete."""

    def row(format_: CheckpointFormat, form: CheckpointForm) -> tuple[str, ...]:
        names = f"`{form.written}`" if form.written else "`checkpoint.pattern`"
        where = f", in `{form.directory}`" if form.directory else ""
        return f"`{format_.value}`", form.writer, f"{form.kind.value} {names}{where}", form.complete

    head = ("format", "written by", "default names", "complete")
    return table(head, (row(*item) for item in FORMS.items()))


# --- the benchmark -------------------------------------------------------------------------------


@cache
def failure_bench() -> str:
    """The figures of the package and of the baselines, and the package's by category and more."""
    return "\n".join(table(head, rows) for head, rows in figures.tables())


# --- the pages -----------------------------------------------------------------------------------

SECTIONS: dict[str, Callable[[], str]] = {
    "categories": categories,
    "only-slurm": only_slurm,
    "rules": classification,
    "stops": stop_rules,
    "actions": actions,
    "csx-restart": restart_commands,
    "csx-sbatch": sbatch_help,
    "exit-codes": exit_codes,
    "log-rules": log_rules,
    "doctor-checks": doctor_checks,
    "slurm-bugs": slurm_bugs,
    "modules": modules,
    "failure-bench": failure_bench,
    "checkpoint-forms": checkpoint_forms,
}
WHOLE: dict[str, Callable[[], str]] = {
    "reference/sbatch-options.md": reference,
    **{
        f"reference/schemas/{name}.json": partial(json_schemas.text_of, name)
        for name in json_schemas.names()
    },
}


def drawn(text: str) -> str:
    """A page with its marked sections as the code has them now.

    Raises:
        KeyError: a section of no known name.
    """
    return SECTION.sub(
        lambda found: f"{found['begin']}\n{SECTIONS[found['name']]()}\n{found['end']}", text
    )


def pages() -> dict[Path, str]:
    """Every page that is drawn from the code, as it should be."""
    paths = [DOCS.parent / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
    found = {path: path.read_text() for path in paths}
    marked = {path: drawn(text) for path, text in found.items() if SECTION.search(text)}
    return marked | {DOCS / name: write() for name, write in WHOLE.items()}


def main(args: Sequence[str] | None = None) -> int:
    """Write the pages, or say which are not current."""
    parser = argparse.ArgumentParser(prog="contrib/docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if a page is old")
    asked = parser.parse_args(args)
    old = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in old:
        if asked.check:
            print(f"{path.relative_to(DOCS.parent)}: not current: run contrib/docs")
        else:
            path.write_text(pages()[path])
            print(f"{path.relative_to(DOCS.parent)}: written")
    return int(asked.check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
