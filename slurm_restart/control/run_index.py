"""The index of all journals, an SQLite file that is made anew from them whenever it is missing."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import slurm_restart
from slurm_restart.control.journal_name import parse_name
from slurm_restart.core.job import JobState
from slurm_restart.core.run_summary import NodeEnds, NodeExclusion, RunSummary, summarize
from slurm_restart.errors import CsxError, StateError
from slurm_restart.frozen import frozen

_BUSY = 2.0
"""Seconds that a process waits for another one that writes the index."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS format (text TEXT);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE, mark TEXT, cluster TEXT, job_id INTEGER, uid INTEGER,
    run TEXT, began INTEGER, changed INTEGER, attempts INTEGER, failures INTEGER, restarts INTEGER,
    step INTEGER, unit TEXT, category TEXT, action TEXT, reason TEXT, observed INTEGER,
    restart_at INTEGER, state TEXT, nodes TEXT);
CREATE TABLE IF NOT EXISTS node_ends (
    run INTEGER, node TEXT, category TEXT, count INTEGER, last_at INTEGER);
CREATE TABLE IF NOT EXISTS exclusions (
    run INTEGER, node TEXT, since INTEGER, until INTEGER, evidence TEXT, over_at INTEGER,
    why_over TEXT);
CREATE INDEX IF NOT EXISTS node_ends_run ON node_ends (run);
CREATE INDEX IF NOT EXISTS exclusions_run ON exclusions (run);
"""
_FORMAT = f"1 {slurm_restart.__version__} {_SCHEMA}"
"""Another release may have other tables, or summarize journals in another way."""
_TABLES = ("runs", "node_ends", "exclusions", "format")


@frozen
class IndexedRun:
    """A run with its journal, and what that amounts to."""

    cluster: str
    """Name of the folder of the cluster's journals."""
    job_id: int
    uid: int
    run: str
    summary: RunSummary
    """Without the ends and exclusions of nodes, which have questions of their own."""


@frozen
class RunExclusion:
    """An exclusion with the run that it belongs to."""

    job_id: int
    uid: int
    exclusion: NodeExclusion


class RunIndex:
    """The index of the journals below a directory, current when it is opened.

    An index that is damaged, of another release or in a place that cannot be written is made anew,
    in memory if need be: the answers are the same.

    Args:
        root: the directory with a folder of journals for each cluster.
        path: the file of the index; None: in memory.
        cluster: name of the only folder that counts; None: all.
        uid: the only user whose runs count; None: all.
    """

    def __init__(
        self, root: Path, path: Path | None, *, cluster: str | None = None, uid: int | None = None
    ) -> None:
        self._root = root
        self._chosen = {"cluster": cluster, "uid": uid}
        self.unreadable: list[str] = []
        """Why journals are missing here."""
        self._database = _open_current(root, path, self.unreadable)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def runs(self) -> list[IndexedRun]:
        """Return the runs."""
        rows = self._database.execute(
            f"SELECT cluster, job_id, uid, run, {', '.join(_SUMMARY)} FROM runs WHERE {_CHOSEN}",  # noqa: S608 - constant
            self._chosen,
        )
        return [
            IndexedRun(
                cluster=cluster,
                job_id=job_id,
                uid=uid,
                run=run,
                summary=_to_summary(dict(zip(_SUMMARY, values, strict=True))),
            )
            for cluster, job_id, uid, run, *values in rows
        ]

    def node_ends(self) -> list[NodeEnds]:
        """Return the attempts by node and category, of all runs together."""
        rows = self._database.execute(
            "SELECT node, node_ends.category, SUM(count), MAX(last_at) FROM node_ends "  # noqa: S608 - constant
            f"JOIN runs ON runs.id = node_ends.run WHERE {_CHOSEN} "
            "GROUP BY node, node_ends.category",
            self._chosen,
        )
        return [
            NodeEnds(node=node, category=category, count=count, last_at=last_at)
            for node, category, count, last_at in rows
        ]

    def exclusions(self) -> list[RunExclusion]:
        """Return all exclusions, the latest first."""
        rows = self._database.execute(
            "SELECT job_id, uid, node, since, until, evidence, over_at, why_over FROM exclusions "  # noqa: S608 - constant
            f"JOIN runs ON runs.id = exclusions.run WHERE {_CHOSEN} ORDER BY since DESC, job_id",
            self._chosen,
        )
        return [
            RunExclusion(
                job_id=job_id,
                uid=uid,
                exclusion=NodeExclusion(
                    node=node,
                    since=since,
                    until=until,
                    evidence=evidence,
                    over_at=over_at,
                    why_over=why_over,
                ),
            )
            for job_id, uid, node, since, until, evidence, over_at, why_over in rows
        ]

    def jobs_on(self, node: str) -> set[tuple[int, str]]:
        """Return job id and run id of the runs that have had an attempt on a node."""
        rows = self._database.execute(
            "SELECT DISTINCT job_id, runs.run FROM node_ends "
            "JOIN runs ON runs.id = node_ends.run WHERE node = ?",
            (node,),
        )
        return {(job_id, run) for job_id, run in rows}


_SUMMARY = (
    "began", "changed", "attempts", "failures", "restarts", "step", "unit", "category", "action",
    "reason", "observed", "restart_at", "state", "nodes",
)  # fmt: skip
"""Columns of `runs` that are fields of a summary."""


def _to_summary(values: dict[str, Any]) -> RunSummary:
    state, nodes = values["state"], values["nodes"]
    changed = {
        "observed": bool(values["observed"]),
        "state": None if state is None else JobState(state),
        "nodes": tuple(nodes.split(",")) if nodes else (),
    }
    return RunSummary(**values | changed, node_ends=(), exclusions=())


_CHOSEN = "(:cluster IS NULL OR cluster = :cluster) AND (:uid IS NULL OR uid = :uid)"


def _open_current(root: Path, path: Path | None, unreadable: list[str]) -> sqlite3.Connection:
    """Open the index, bring it up to date, and return it."""
    if path is not None:
        for _ in range(2):
            try:
                return _open(root, path, unreadable)
            except sqlite3.OperationalError:
                break  # locked, no space, or no place to write
            except (sqlite3.Error, CsxError):
                path.unlink(missing_ok=True)  # damaged
            except OSError:
                break
    return _open(root, None, unreadable)


def _open(root: Path, path: Path | None, unreadable: list[str]) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(":memory:" if path is None else path, timeout=_BUSY)
    try:
        with database:
            _prepare(database)
            _refresh(database, root, unreadable)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection) -> None:
    """Make the tables; empty ones in place of those of another release."""
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if ("format",) in tables:
        if database.execute("SELECT text FROM format").fetchall() == [(_FORMAT,)]:
            return
        for name in _TABLES:
            database.execute(f"DROP TABLE IF EXISTS {name}")
    for statement in _SCHEMA.split(";"):
        database.execute(statement)
    database.execute("INSERT INTO format VALUES (?)", (_FORMAT,))


def _refresh(database: sqlite3.Connection, root: Path, unreadable: list[str]) -> None:
    """Read the journals that have changed, and forget those that are gone."""
    found = {str(path.relative_to(root)): (path, mark) for path, mark in _journals(root)}
    known = {
        path: (number, mark)
        for number, path, mark in database.execute("SELECT id, path, mark FROM runs")
    }
    for name, (number, mark) in known.items():
        if name not in found or found[name][1] != mark:
            for table, column in (("runs", "id"), ("node_ends", "run"), ("exclusions", "run")):
                database.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608
    changed = {
        name: found[name] for name in found if name not in known or known[name][1] != found[name][1]
    }
    if changed:
        _read(database, changed, unreadable)


def _read(
    database: sqlite3.Connection, changed: dict[str, tuple[Path, str]], unreadable: list[str]
) -> None:
    # Where nothing has changed, the import would take longer than the answer.
    from slurm_restart.control.journal import read_journal  # noqa: PLC0415

    for name, (path, mark) in changed.items():
        try:
            events, _ = read_journal(path)
        except StateError as error:
            if os.path.lexists(path):
                unreadable.append(str(error))
            continue
        if (summary := summarize(events)) is not None:
            _insert(database, name, mark, summary)


def _journals(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the journals, each with a mark that changes when it is written."""
    with os.scandir(root) as folders:
        for folder in folders:
            if folder.is_dir(follow_symlinks=False):
                yield from _journals_in(Path(folder.path))


def _journals_in(folder: Path) -> Iterator[tuple[Path, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if parse_name(entry.name) is not None:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed meanwhile
                yield Path(entry.path), f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"


def _insert(database: sqlite3.Connection, name: str, mark: str, summary: RunSummary) -> None:
    cluster, _, file_name = name.rpartition("/")
    parsed = parse_name(file_name)
    if parsed is None:
        return
    values = [getattr(summary, field) for field in _SUMMARY[:-2]]
    values += [summary.state and summary.state.value, ",".join(summary.nodes)]
    number = database.execute(
        f"INSERT INTO runs (path, mark, cluster, job_id, uid, run, {', '.join(_SUMMARY)}) "  # noqa: S608 - constant
        f"VALUES (?, ?, ?, ?, ?, ?{', ?' * len(_SUMMARY)})",
        (name, mark, cluster, *parsed, *values),
    ).lastrowid
    database.executemany(
        "INSERT INTO node_ends VALUES (?, ?, ?, ?, ?)",
        [(number, e.node, e.category, e.count, e.last_at) for e in summary.node_ends],
    )
    database.executemany(
        "INSERT INTO exclusions VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (number, e.node, e.since, e.until, e.evidence, e.over_at, e.why_over)
            for e in summary.exclusions
        ],
    )
