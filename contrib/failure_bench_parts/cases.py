"""The cases of the benchmark: logs of programs that failed, with the right judgement of each."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
LABEL = re.compile(r"^(?:\d+: |\[(?:rank|default)?\d+\]: ?)+")
STOPS = frozenset(
    {
        "auth",
        "cancelled",
        "code",
        "compile",
        "completed",
        "config",
        "memory.device_oom",
        "storage.full",
    }
)
"""The categories in which a restart cannot help, or is not needed."""


class BadCaseError(Exception):
    """A case that the benchmark cannot use."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One log and what is right about it.

    `categories` begins with the true one; the others are those that the log does not tell apart
    from it. `roots` are the lines that say why; empty: no line does. `blame` holds the nodes at
    fault.
    """

    name: str
    log: Path
    state: str
    exit_code: str
    categories: tuple[str, ...]
    roots: tuple[str, ...]
    blame: frozenset[str]

    @property
    def restarts(self) -> frozenset[bool]:
        """The right actions: whether a restart can help. Both, if the log does not say."""
        return frozenset(category not in STOPS for category in self.categories)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a judge says about one case."""

    category: str
    restart: bool
    confidence: str = ""
    root: str = ""
    blame: frozenset[str] = frozenset()


def read_cases(folder: Path = DATA) -> tuple[Case, ...]:
    """Read the cases of a folder with `cases.jsonl` and `logs/`.

    Raises:
        BadCaseError: naming the line and what is wrong with it.
    """
    lines = (folder / "cases.jsonl").read_text().splitlines()
    return tuple(_case(folder, number, line) for number, line in enumerate(lines, 1))


def _case(folder: Path, number: int, line: str) -> Case:
    try:
        data = json.loads(line)
        roots = (data["root_cause_line"], *data["also_root_cause_lines"])
        case = Case(
            name=data["name"],
            log=folder / "logs" / f"{data['name']}.log",
            state=data["state"],
            exit_code=data["exit_code"],
            categories=(data["category"], *data["also"]),
            roots=tuple(bare(root) for root in roots if root is not None),
            blame=frozenset(data["blame"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadCaseError(f"cases.jsonl:{number}: {type(error).__name__}: {error}") from None
    if not case.log.is_file():
        raise BadCaseError(f"cases.jsonl:{number}: no such file: {case.log}")
    return case


def read_answer(text: str) -> Answer:
    """Parse one JSON object as `csx-restart classify --json` prints it.

    Raises:
        BadCaseError: no such object.
    """
    try:
        data = json.loads(text)
        root = data.get("root_cause") or {}
        return Answer(
            category=str(data["category"]),
            restart=bool(data["recoverable"]) and data["category"] != "completed",
            confidence=str(data.get("confidence") or ""),
            root=bare(str(root.get("text") or "")),
            blame=frozenset(map(str, data.get("blamed_nodes") or ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCaseError(f"not an answer: {type(error).__name__}: {error}") from None


def bare(line: str) -> str:
    """Return a line without the rank in front and without doubled spaces."""
    return " ".join(LABEL.sub("", line.strip()).split())
