"""The layout of checkpoints from the directory, pattern, format and marker that the user gave."""

from pathlib import Path

from slurm_restart.core.checkpoint_url import is_url, url_problem
from slurm_restart.frozen import frozen
from slurm_restart.trainer.checkpoint_forms import FORMS
from slurm_restart.trainer.checkpoint_names import split_directory, to_regex
from slurm_restart.trainer.run_plan import WARN_AFTER, CheckpointFormat, CheckpointLayout


@frozen
class GivenCheckpoint:
    """What the user gave. None: nothing."""

    directory: str | None = None
    """May have `*` and `?` in its names. A path or a URL."""
    pattern: str | None = None
    """As `to_regex` takes it."""
    format: CheckpointFormat | None = None
    complete: str | None = None
    warn_after: int | None = None
    """Seconds."""
    saved: str | None = None
    """As `CheckpointLayout.saved`."""


@frozen
class DefaultNames:
    """The names of checkpoints where no pattern is given and the format has none of its own."""

    regex: str
    written: str


def checkpoint_layout(
    given: GivenCheckpoint, base: Path, default: str | Path, names: DefaultNames | None = None
) -> CheckpointLayout:
    """Return the layout.

    Args:
        given: what the user gave.
        base: the absolute path that a relative directory starts from.
        default: the directory, or URL, if none is given and the format has none of its own.
        names: as its class says; of the Model Zoo's format they are preferred to its own.

    Raises:
        ValueError: there are no names, or one of the values is wrong.
    """
    form = given.format or CheckpointFormat.AUTO
    named = given.directory or FORMS[form].directory
    fixed, below = split_directory(named)
    pattern, written = _names(given, form, names)
    if below:
        pattern, written = f"{_below(below)}{pattern}", f"{below}/{written}"
    return CheckpointLayout(
        directory=place_of(base, fixed if named else str(default)),
        pattern=pattern,
        format=form,
        complete=given.complete,
        written=written,
        warn_after=WARN_AFTER if given.warn_after is None else given.warn_after,
        saved=given.saved,
    )


def place_of(base: Path, directory: str) -> str:
    """Return a directory as an absolute path, or its URL without a slash at the end.

    Args:
        base: the absolute path that a relative directory starts from.
        directory: a path or a URL.
    """
    return directory.rstrip("/") if is_url(directory) else str(base / directory)


def _names(
    given: GivenCheckpoint, form: CheckpointFormat, names: DefaultNames | None
) -> tuple[str, str]:
    if given.pattern is not None:
        return to_regex(given.pattern), given.pattern
    own = FORMS[form]
    if names is not None and (not own.pattern or form is CheckpointFormat.MDL):
        return names.regex, names.written
    if not own.pattern:
        raise ValueError(f"a pattern with {{step}} in it: the format {form.value} has no own names")
    return own.pattern, own.written


def _below(directories: str) -> str:
    # A directory's name need not have `{step}` in it.
    return to_regex(f"{directories}/{{step}}").removesuffix(to_regex("{step}"))


def check_directory(text: str) -> None:
    """Check a directory with `*` in its names.

    Raises:
        ValueError: it has `{step}` or `..` behind a `*` in it, or is a URL that cannot be used.
    """
    fixed, below = split_directory(text)
    if is_url(text) and (problem := url_problem(fixed)) is not None:
        raise ValueError(problem)
    if below:
        _below(below)
