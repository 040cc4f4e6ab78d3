"""Build the command that starts the trainer from a template and quoted values."""

import re
import shlex
from collections.abc import Mapping, Sequence

from slurm_restart.core.job_comment import Mode
from slurm_restart.errors import UsageError
from slurm_restart.frozen import frozen

# `${config}` belongs to the shell; `{{` and `}}` are braces that stay.
_PLACEHOLDER = re.compile(r"\{\{|\}\}|(?<!\$)\{(\w+)\}")
_PLAIN = r"[\w.,:/=+@%-]*"
# A shell word with {checkpoint} in it, unless it adjoins text that must stay: `$(…)`, `"`.
_CHECKPOINT_WORD = re.compile(
    rf"(?:^|(?<=[\s;&|(]))(?:(?P<option>-[\w.,:/+@%-]*)(?P<gap>(?:[ \t]|\\\n)+))?"
    rf"(?P<before>{_PLAIN})(?<![{{$])\{{checkpoint\}}(?!\}}){_PLAIN}(?=[\s;&|)]|$)"
)

# `cszoo fit` as a command of its own or of a launcher, with or without a path.
_CSZOO = r"(?P<cszoo>(?:^|(?<=[\s;&|(/]))cszoo[ \t]+)"
_FIT = re.compile(rf"{_CSZOO}fit(?=\s|$)")
# That command alone, with variables before it: nothing else runs if it is run once more. A launcher
# would take nodes for it, and what a shell does around it would be done twice.
_FIT_ALONE = re.compile(
    r"\s*(?:[A-Za-z_]\w*=[^\s;&|<>()`]*\s+)*(?:[^\s;&|<>()`=]*/)?cszoo\s+fit(?:[^\S\n][^;&|<>()`\n#]*)?\s*",
    re.ASCII,
)
_NO_COMPILE = ("--compile_only", "--validate_only", "--target_device")
"""Options of a run that compiles nothing, or nothing but that."""
COMPILE_ONLY = "--compile_only"
"""The option with which `cszoo fit` compiles the model and ends."""
_MODEL_ZOO = re.compile(rf"{_CSZOO}(?:fit|validate|validate_all)(?=\s|$)")

PLACEHOLDERS: dict[str, str] = {
    "config": "the attempt's config file",
    "checkpoint": "the checkpoint to load; without one, the argument is left out, with the option"
    " before it",
    "num_csx": "CSX systems (nodes times csx_per_node) of the attempt",
    "nodes": "number of nodes of the attempt",
    "model_dir": "the run's model_dir",
    "run_dir": "the run directory",
    "attempt": "number of the attempt, from 0",
    "run_id": "the run id, the same in all attempts",
    "step": "the step of the checkpoint, 0 without one",
}
_CONFIG_ONLY = ("config", "num_csx", "model_dir")
"""Values that a batch script of the user's does not have."""

# `cszoo fit` trains and evaluates as the config says, so both modes are the same command.
_DEFAULTS: dict[Mode, str] = {
    Mode.FIT: "cszoo fit {config}",
    Mode.TRAIN_AND_EVAL: "cszoo fit {config}",
    Mode.VALIDATE: "cszoo validate {config}",
    Mode.VALIDATE_ALL: "cszoo validate_all {config}",
}


def default_command(mode: Mode) -> str:
    """Return the launch template that is used if the settings have none."""
    return _DEFAULTS[mode]


def runs_model_zoo(template: str) -> bool:
    """Return whether the template starts the Model Zoo's command, with or without a launcher."""
    return _MODEL_ZOO.search(template) is not None


def can_compile_only(template: str, arguments: Sequence[str] = ()) -> bool:
    """Return whether the command with `COMPILE_ONLY` behind it compiles, and does nothing else.

    Args:
        template: it has to be `cszoo fit …` alone.
        arguments: of the trainer, appended to it.
    """
    words = (*template.split(), *arguments)
    chosen = any(word.partition("=")[0] in _NO_COMPILE for word in words)
    return _FIT_ALONE.fullmatch(template) is not None and not chosen


def validation_command(template: str) -> str | None:
    """Return the template with `cszoo validate_all` in place of `cszoo fit`.

    None: it starts another program, whose way to validate is not known.
    """
    changed, count = _FIT.subn(rf"\g<cszoo>{Mode.VALIDATE_ALL.value}", template)
    return changed if count == 1 else None


@frozen
class Launch:
    """The values of one attempt that a template can use. Paths are absolute."""

    config: str
    checkpoint: str | None
    num_csx: int
    nodes: int
    model_dir: str
    run_dir: str
    attempt: int
    run_id: str
    step: int | None

    def _values(self) -> dict[str, str]:
        values = {name: getattr(self, name) for name in PLACEHOLDERS}
        return {name: "" if value is None else str(value) for name, value in values.items()}

    def command(self, template: str, arguments: Sequence[str] = ()) -> str:
        """Return the shell command; every value and argument is quoted as one shell word.

        Raises:
            UsageError: the template has an unknown placeholder.
        """
        check_template(template)
        if self.checkpoint is None:
            template = _without_checkpoint(template)
        values = self._values()

        def fill(match: re.Match[str]) -> str:
            name = match.group(1)
            return match.group(0)[0] if name is None else shlex.quote(values[name])

        return " ".join([_PLACEHOLDER.sub(fill, template).strip(), *map(shlex.quote, arguments)])

    def environment(self, *, script: bool) -> Mapping[str, str]:
        """Return the values as environment variables; a missing value is an empty variable.

        Those of a config are left out for a batch script of the user's.

        In the shell, `${CSX_RESTART_CHECKPOINT:+--resume "$CSX_RESTART_CHECKPOINT"}` expands to
        nothing without a checkpoint.
        """
        return {
            f"CSX_RESTART_{name.upper()}": value
            for name, value in self._values().items()
            if not (script and name in _CONFIG_ONLY)
        }


def _without_checkpoint(template: str) -> str:
    """Return the template without the arguments that need a checkpoint.

    These are `--resume={checkpoint}`, and `{checkpoint}` with the option directly before it.
    Anything else, such as a redirection, keeps an empty argument.
    """

    def leave_out(match: re.Match[str]) -> str:
        if template[: match.start()].rstrip().endswith(("<", ">")):
            return match.group(0)
        # An option before `name={checkpoint}` takes no argument: it is a flag, and stays.
        stays = match["option"] is not None and match["before"]
        return f"{match['option']}{match['gap']}" if stays else ""

    return _CHECKPOINT_WORD.sub(leave_out, template)


def check_template(template: str) -> None:
    """Check that every placeholder is known, and is not inside quotes.

    Raises:
        UsageError: the problem, with the most similar known name.
    """
    if not template.strip():
        raise UsageError("expected a command, got nothing")
    if "\0" in template:
        raise UsageError("expected a command, got a NUL character in it")
    for match in _PLACEHOLDER.finditer(template):
        name = match.group(1)
        if name is not None and name not in PLACEHOLDERS:
            import difflib  # noqa: PLC0415 - 2 ms and 0.4 MB, for a mistake only

            near = difflib.get_close_matches(name, PLACEHOLDERS, n=1)
            known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            hint = f" (did you mean {{{near[0]}}}?)" if near else ""
            raise UsageError(
                f"expected one of {known}, got {{{name}}}{hint}; write {{{{{name}}}}} for the text"
            )
        if name is not None and _is_quoted(template, match.start()):
            raise UsageError(
                f"expected {{{name}}} outside quotes, as it is quoted already; inside double "
                f"quotes write $CSX_RESTART_{name.upper()}"
            )


def _is_quoted(text: str, position: int) -> bool:
    """Return whether a position is inside quotes, where a quoted value could end them."""
    quote, index, word_start = "", 0, True
    while index < position:
        char = text[index]
        if char == "\\" and quote != "'":
            index += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        elif char == "#" and word_start:
            newline = text.find("\n", index)
            index = position if newline < 0 else newline
        word_start = char.isspace()
        index += 1
    return bool(quote)
