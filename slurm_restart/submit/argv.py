"""Reads a command line the way sbatch does: getopt_long's rules over the table of options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from slurm_restart.errors import UsageError
from slurm_restart.submit.option import Argument, Option
from slurm_restart.submit.options import OptionTable
from slurm_restart.trainer.config_checker import nearest
from slurm_restart.trainer.settings import Given

_HETEROGENEOUS = (
    "`:` separates the parts of a heterogeneous job, which cannot be restarted yet: submit the "
    "parts as runs of their own"
)


@dataclass(frozen=True, kw_only=True)
class GivenOption:
    """An option that a person gave. `value` is None for an option without one."""

    option: Option
    value: str | None
    origin: str
    """How it was given, for messages: `--nodes`, `SBATCH_PARTITION`, `trainer.yaml:3: …`."""
    count: int = 1
    """How often, for -v."""

    @property
    def argument(self) -> str:
        """As one argument for sbatch."""
        return f"--{self.option.name}" + ("" if self.value is None else f"={self.value}")


@dataclass
class CommandLine:
    """What was given: options, the trainer's config, and what stands behind `--`."""

    uses: list[GivenOption] = field(default_factory=list)
    operands: list[str] = field(default_factory=list)
    trainer_arguments: tuple[str, ...] = ()


def parse(arguments: Sequence[str], table: OptionTable) -> CommandLine:
    """Read a command line.

    Options may stand on both sides of the config. Whatever follows `--` is the trainer's.

    Raises:
        UsageError: an unknown or ambiguous option, a missing or superfluous argument.
    """
    line = CommandLine()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            line.trainer_arguments = tuple(rest)
            break
        if word == ":":
            raise UsageError(_HETEROGENEOUS)
        if word.startswith("--"):
            line.uses.append(_long(word, rest, table))
        elif word.startswith("-") and word != "-":
            line.uses += _short(word, rest, table)
        else:
            line.operands.append(word)
    return line


def _long(word: str, rest: list[str], table: OptionTable) -> GivenOption:
    name, equals, value = word[2:].partition("=")
    found = table.named(name) if name else ()
    if len(found) != 1:
        raise UsageError(_unknown(name, found, table))
    option = found[0]
    origin = f"--{option.name}"
    match option.argument:
        case Argument.NONE if equals:
            raise UsageError(f"{origin}: expected no argument, got {value!r}")
        case Argument.REQUIRED if not equals:
            value = _next(origin, rest)
            equals = "="
        case _:
            pass
    return GivenOption(option=option, value=value if equals else None, origin=origin)


def _unknown(name: str, found: Sequence[Option], table: OptionTable) -> str:
    if found:
        names = ", ".join(f"--{option.name}" for option in found)
        return f"--{name}: expected one option, got the beginning of several: {names}"
    near = nearest(name, table.by_name)
    hint = f"did you mean --{near}? " if near else ""
    return (
        f"--{name}: sbatch has no such option; {hint}(an option of the trainer goes behind --, "
        "one of a site's plugin into site_options of site.toml)"
    )


def _short(word: str, rest: list[str], table: OptionTable) -> list[GivenOption]:
    """A group such as `-vN4`: flags, and at its end perhaps an option with its argument."""
    uses: list[GivenOption] = []
    for index, letter in enumerate(word[1:], start=1):
        origin = f"-{letter}"
        option = table.by_short.get(letter)
        if option is None:
            raise UsageError(
                f"{origin}: sbatch has no such option (an option of the trainer goes behind --)"
            )
        origin = f"-{letter} (--{option.name})"
        if option.argument is Argument.NONE:
            uses.append(GivenOption(option=option, value=None, origin=origin))
            continue
        value: str | None = word[index + 1 :] or None
        if value is None and option.argument is Argument.REQUIRED:
            value = _next(origin, rest)
        uses.append(GivenOption(option=option, value=value, origin=origin))
        break
    return uses


def _next(origin: str, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"{origin}: expected an argument, got nothing")
    return rest.pop(0)


def from_environment(environ: Mapping[str, str], table: OptionTable) -> list[GivenOption]:
    """The options that variables such as SBATCH_PARTITION stand for."""
    uses = []
    for option in table.by_name.values():
        for variable in option.variables:
            value = environ.get(variable)
            # SLURM_HINT and SLURM_CLUSTERS give way to SBATCH_…, which sbatch reads after them.
            if value is not None and (use := _from_variable(option, variable, value)) is not None:
                uses.append(use)
    return uses


def _from_variable(option: Option, variable: str, value: str) -> GivenOption | None:
    """As sbatch reads it: a flag is set by an empty text, `yes` or a number but 0."""
    if option.argument is Argument.NONE or (option.name == "requeue" and value != "expedite"):
        if value and value.lower() != "yes" and not (value.isdigit() and int(value)):
            return None
        return GivenOption(option=option, value=None, origin=variable)
    if option.argument is Argument.OPTIONAL:
        return GivenOption(option=option, value=value or None, origin=variable)
    return GivenOption(option=option, value=value, origin=variable)


def from_settings(
    sbatch: Mapping[str, Given], table: OptionTable
) -> tuple[list[GivenOption], list[str]]:
    """The options of settings files, and every problem with them."""
    uses: list[GivenOption] = []
    problems: list[str] = []
    for name, given in sbatch.items():
        option = table.by_name.get(name)
        if option is None:
            near = nearest(name, table.by_name)
            expected = f"--{near}" if near else "an option of sbatch by its long name"
            problems.append(f"{given.origin}: expected {expected}, got {name!r}")
        elif isinstance(given.value, str) and option.argument is Argument.NONE:
            problems.append(f"{given.origin}: expected true or false, got {given.value!r}")
        elif given.value is True and option.argument is Argument.REQUIRED:
            problems.append(f"{given.origin}: expected a value, got true")
        else:
            value = given.value if isinstance(given.value, str) else None
            uses.append(GivenOption(option=option, value=value, origin=given.origin))
    return uses, problems


def layered(layers: Sequence[Sequence[GivenOption]]) -> dict[str, GivenOption]:
    """One use for each option, the later layer over the earlier; they keep their order.

    Options of one layer that exclude each other all stay: sbatch has a message for that.
    """
    result: dict[str, GivenOption] = {}
    for uses in layers:
        here = {use.option.name for use in uses}
        for use in uses:
            before = result.pop(use.option.name, None)
            for other in use.option.excludes:
                if other not in here:
                    result.pop(other, None)
            repeated = before is not None and use.option.name == "verbose"
            count = before.count + 1 if before is not None and repeated else 1
            result[use.option.name] = replace(use, count=count)
    return result
