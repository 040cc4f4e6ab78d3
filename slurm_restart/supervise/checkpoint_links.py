"""Point links such as `latest` at what an attempt starts from, before theirs is set aside.

A program that follows such a link would find nothing there, or another state than that of the
attempt. Links are replaced by a rename: a reader finds the old one or the new one.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path, PurePath

from slurm_restart.frozen import frozen
from slurm_restart.supervise.set_aside_names import UNUSABLE_SUFFIX, holder_of, original_path
from slurm_restart.trainer.checkpoints import checkpoint_named, name_of
from slurm_restart.trainer.run_plan import CheckpointLayout

LinkTargets = tuple[str, str]
"""What a link held before it was changed, and since."""
MOST_ENTRIES = 10_000
"""How many names are read of a directory that is not one of checkpoints: the start waits for it."""


@frozen
class LinkNote:
    """A link to a checkpoint that is not used, and what was done about it."""

    path: str
    text: str
    """For people."""
    targets: LinkTargets | None = None
    """None: it is unchanged."""


def redirect_links(
    layout: CheckpointLayout,
    passed_over: Collection[Path],
    checkpoint: str | None,
    changed: Collection[Mapping[str, LinkTargets]] = (),
    work_dir: str | None = None,
) -> Iterator[LinkNote]:
    """Change the links that do not lead to the attempt's start.

    Those in the checkpoint directory, in the one above it and in the job's directory that belong to
    this user and point to what is set aside, now or since an earlier attempt; and those that
    earlier attempts changed, once their old target is used again.

    Args:
        layout: where checkpoints are.
        passed_over: what will be renamed: `holder_of` each checkpoint.
        checkpoint: what the attempt starts from; None: from scratch, no link is changed.
        changed: the links that each earlier attempt changed, by path.
        work_dir: the job's directory; None: links there are left.
    """
    start = None if checkpoint is None else _start_of(layout, checkpoint)
    places = [_place(path) for path in passed_over]
    inside = _directories(layout, [*passed_over, *([] if start is None else [start])])
    links = chain(_links(layout, inside), _links_beside(layout, inside, work_dir, changed))
    for link, held in links:
        rest = _rest(link, held, places)
        back = None if start is None else _earlier_target(link, held, start, changed)
        if rest is not None:
            yield _redirect(link, held, rest, start)
        elif back is not None:
            yield _replace(link, held, back, f"link {link} points to {held}")


def _directories(layout: CheckpointLayout, paths: Iterable[Path]) -> list[Path]:
    """Return the directories of these paths, and those above up to the layout's directory."""
    top = Path(layout.directory)
    above = (parent for path in paths for parent in path.parents)
    return list(dict.fromkeys([top, *(each for each in above if each.is_relative_to(top))]))


def _links(layout: CheckpointLayout, directories: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the links in these directories, with content, without those named as checkpoints."""
    for directory in directories:
        for link, held in _links_in(directory):
            if checkpoint_named(layout, name_of(layout, str(link)), (0, 0)) is None:
                yield link, held


def _links_beside(
    layout: CheckpointLayout,
    inside: Iterable[Path],
    work_dir: str | None,
    changed: Collection[Mapping[str, LinkTargets]],
) -> Iterator[tuple[Path, str]]:
    """Yield such links in the job's directory, and in the one above that of the checkpoints.

    Only those that hold the name of a checkpoint, or that an attempt has changed: where others lead
    is not looked at, as a file system there may hang.
    """
    levels = layout.pattern.split("/")
    level = next((level for level in levels if "(?P<step>" in level), levels[-1])
    seen = {os.path.realpath(directory) for directory in inside}
    above = Path(layout.directory).parent
    for directory in (above, above if work_dir is None else Path(work_dir)):
        if os.path.realpath(directory) in seen:
            continue
        seen.add(os.path.realpath(directory))
        for link, held in _links_in(directory, MOST_ENTRIES):
            named = any(re.fullmatch(level, part) for part in PurePath(held).parts)
            known = named or any(str(link) in links for links in changed)
            if known and not re.fullmatch(level, link.name):
                yield link, held


def _links_in(directory: Path, most: int | None = None) -> Iterator[tuple[Path, str]]:
    """Yield the links among the first `most` entries of a directory, with content."""
    try:
        with os.scandir(directory) as entries:
            links = [Path(entry.path) for entry in islice(entries, most) if entry.is_symlink()]
    except OSError:
        return
    for link in sorted(links):
        # The program of an earlier attempt may still run, and replace it.
        with suppress(OSError):
            yield link, str(link.readlink())


def _place(path: Path) -> Path:
    """Return where a path is, without links above it; it may be a link, or not exist."""
    return Path(os.path.realpath(path.parent), path.name)


def _rest(link: Path, held: str, passed_over: Iterable[Path]) -> PurePath | None:
    """Return where a link points to within what is set aside; None: it does not point there."""
    target = _place(link.parent / held)
    missing = [] if os.path.lexists(target) else [target, *target.parents[:-1]]
    before = (part for part in missing if os.path.lexists(f"{part}{UNUSABLE_SUFFIX}"))
    for place in (*passed_over, *(part for part in before if not os.path.lexists(part))):
        if target.is_relative_to(place):
            return target.relative_to(place)
    return None


def _earlier_target(
    link: Path, held: str, start: Path, changed: Iterable[Mapping[str, LinkTargets]]
) -> str | None:
    """Return what an earlier attempt found in a link that only such have changed since.

    None: it did not point to the start of the attempt then.
    """
    old: list[str] = []
    new = None
    for links in changed:
        if str(link) in links:
            before, after = links[str(link)]
            old = [*old, before] if before == new else [before]
            new = after
    if new != held:
        return None
    place = _place(start)
    found = (text for text in old if _place(link.parent / text).is_relative_to(place))
    return next((text for text in found if text != held), None)


def _redirect(link: Path, held: str, rest: PurePath, start: Path | None) -> LinkNote:
    about = f"link {link} points to {held}, which is not used"
    if start is None:
        text = f"{about}: it stays as it is, as the attempt starts from scratch"
        return LinkNote(path=str(link), text=text)
    new = start / rest
    if not os.path.exists(new) or _place(new) == _place(link):  # noqa: PTH110
        return LinkNote(path=str(link), text=f"{about}: it stays as it is")
    if held.startswith("/"):
        return _replace(link, held, str(new), about)
    return _replace(link, held, os.path.relpath(_place(new), os.path.realpath(link.parent)), about)


def _replace(link: Path, held: str, new: str, about: str) -> LinkNote:
    partial = link.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        if link.lstat().st_uid != os.geteuid():
            return LinkNote(path=str(link), text=f"{about}: it belongs to another user")
        partial.symlink_to(new)
        partial.replace(link)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        text = f"{about}: it cannot be changed: {error.strerror}"
        return LinkNote(path=str(link), text=text)
    text = f"{about}: it points to {new} now, which the attempt starts from"
    return LinkNote(path=str(link), text=text, targets=(held, new))


def _start_of(layout: CheckpointLayout, checkpoint: str) -> Path:
    name = name_of(layout, original_path(layout, checkpoint))
    is_own = checkpoint_named(layout, name, (0, 0)) is not None
    return holder_of(layout, checkpoint) if is_own else Path(checkpoint)
