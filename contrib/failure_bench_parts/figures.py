"""The tables of figures on the documentation's page."""

from collections.abc import Iterator, Mapping

from contrib.failure_bench_parts.baselines import BASELINES
from contrib.failure_bench_parts.cases import Answer, read_cases
from contrib.failure_bench_parts.product import judge
from contrib.failure_bench_parts.score import (
    Score,
    by_category,
    by_confidence,
    by_family,
    score,
    score_by,
)

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def tables() -> Iterator[Table]:
    """Yield head and rows of each table."""
    cases = read_cases()
    answers = judge(cases)
    judges: dict[str, Mapping[str, Answer]] = {"csx-restart classify": answers}
    judges |= {name: {case.name: ask(case) for case in cases} for name, ask in BASELINES.items()}
    whole = [_judge_row(name, score(cases, given)) for name, given in judges.items()]
    head = (
        f"{len(cases)} cases",
        "action",
        "category",
        "root-cause line",
        "lost runs",
        "futile restarts",
        "wrongly blamed",
    )
    yield head, whole
    for title, key in (
        ("confidence, action", by_confidence),
        ("category", by_category),
        ("family", by_family),
    ):
        groups = score_by(key, cases, answers)
        yield (
            (title, "cases", "action right", "category right", "root-cause line right"),
            [_group_row(name, counts) for name, counts in groups.items()],
        )


def _judge_row(name: str, counts: Score) -> tuple[str, ...]:
    data = counts.data()
    shares = (f"{data[f'{part}_accuracy']:.3f}" for part in ("action", "category", "root_cause"))
    return (name, *shares, str(counts.lost), str(counts.futile), str(counts.wrongly_blamed))


def _group_row(name: str, counts: Score) -> tuple[str, ...]:
    return (
        name,
        str(counts.cases),
        str(counts.action),
        str(counts.category),
        f"{counts.root} of {counts.roots}",
    )
