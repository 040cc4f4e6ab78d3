"""Scores a judge of failure logs: action, category, root-cause line, blamed nodes, calibration."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from contrib.failure_bench_parts.baselines import BASELINES
from contrib.failure_bench_parts.cases import DATA, Answer, BadCaseError, Case, read_cases
from contrib.failure_bench_parts.judges import ask_command, read_answers
from contrib.failure_bench_parts.score import (
    Score,
    action_right,
    by_category,
    by_confidence,
    by_family,
    category_right,
    root_right,
    score,
    score_by,
)

GROUPS = {"category": by_category, "confidence": by_confidence, "family": by_family}


def answers_of(options: argparse.Namespace, cases: Sequence[Case]) -> Mapping[str, Answer]:
    """The answers of the judge that the options name."""
    if options.answers is not None:
        return read_answers(options.answers)
    if options.baseline is not None:
        return {case.name: BASELINES[options.baseline](case) for case in cases}
    return ask_command(options.command, cases, jobs=options.jobs)


def format_group(title: str, groups: Mapping[str, Score]) -> str:
    """A table of a group's scores: how many, and how many of them right."""
    width = max(map(len, (title, *groups)))
    lines = [f"{title:{width}}  cases  action  category  root"]
    for name, counts in groups.items():
        root = f"{counts.root}/{counts.roots}"
        lines.append(
            f"{name:{width}}  {counts.cases:5}  {counts.action:6}  {counts.category:8}  {root:>5}"
        )
    return "\n".join(lines)


def wrong_lines(cases: Sequence[Case], answers: Mapping[str, Answer]) -> list[str]:
    """One line for each case that is not right in everything."""
    lines = []
    for case in cases:
        answer = answers.get(case.name)
        parts = {
            "action": action_right(case, answer),
            "category": category_right(case, answer),
            "root": not case.roots or root_right(case, answer),
            "blame": answer is not None and answer.blame == case.blame,
        }
        wrong = ", ".join(part for part, right in parts.items() if not right)
        if wrong:
            got = "no answer" if answer is None else f"{answer.category}, {answer.confidence}"
            lines.append(f"{case.name}: {wrong}: expected {'/'.join(case.categories)}, got {got}")
            if not parts["root"]:
                lines += [f"    expected {case.roots[0]!r}", f"    got {answer and answer.root!r}"]
    return lines


def main(args: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="contrib/failure-bench", description=__doc__)
    judge = parser.add_mutually_exclusive_group()
    judge.add_argument("--command", default="csx-restart classify --json", metavar="COMMAND")
    judge.add_argument("--baseline", choices=BASELINES)
    judge.add_argument("--answers", type=Path, metavar="FILE", help="JSON lines with `name`")
    parser.add_argument("--cases", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("--by", choices=GROUPS, action="append", default=[])
    parser.add_argument("--wrong", action="store_true", help="list what is not right")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="commands at once")
    options = parser.parse_args(args)
    try:
        cases = read_cases(options.cases)
        answers = answers_of(options, cases)
    except (BadCaseError, OSError) as error:
        print(f"failure-bench: {error}", file=sys.stderr)
        return 2
    if options.wrong:
        print(*wrong_lines(cases, answers), sep="\n")
    for name in options.by:
        print(f"{format_group(name, score_by(GROUPS[name], cases, answers))}\n")
    print(json.dumps(score(cases, answers).data()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
