"""Parse a command line as sbatch does: getopt_long's rules and the table of options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slurm_restart.errors import UsageError
from slurm_restart.frozen import frozen
from slurm_restart.submit.option import Argument, Option, OptionHandling
from slurm_restart.submit.option_rows import OWN, RESTART, SBATCH
from slurm_restart.trainer.config_checker import nearest
from slurm_restart.trainer.settings import OptionSetting

_HETEROGENEOUS = (
    "`:` separates the parts of a heterogeneous job, which cannot be restarted yet: submit the "
    "parts as runs of their own"
)


_ADDED = frozenset(option.name for option in (*OWN, *RESTART))


class OptionTable:
    """All options by long and short name: sbatch's (22.05 to 26.05), csx-sbatch's, the site's."""

    def __init__(self, site_options: Sequence[str] = ()) -> None:
        """`site_options`: names of SPANK options; `name=` takes an argument, `name` may."""
        rows = (*map(_site_option, site_options), *OWN, *RESTART, *SBATCH)
        self.by_name: dict[str, Option] = {option.name: option for option in rows}
        self.by_short: dict[str, Option] = {row.short: row for row in rows if row.short}

    def named(self, text: str) -> tuple[Option, ...]:
        """Return the options that a long name or a beginning of it matches, as getopt_long(3).

        A beginning that means one option of sbatch means it here too.
        """
        if text in self.by_name:
            return (self.by_name[text],)
        found = tuple(option for name, option in self.by_name.items() if name.startswith(text))
        sbatch = tuple(option for option in found if option.name not in _ADDED)
        return sbatch if len(sbatch) == 1 else found


def _site_option(text: str) -> Option:
    argument = Argument.REQUIRED if text.endswith("=") else Argument.OPTIONAL
    return Option(
        name=text.removesuffix("="),
        short=None,
        argument=argument,
        handling=OptionHandling.PASSED,
        note="an option of this site",
    )


@frozen
class GivenOption:
    """An option that the user gave. `value` is None for an option without a value."""

    option: Option
    value: str | None
    origin: str
    """Where it was given, for messages: `--nodes`, `SBATCH_PARTITION`, `trainer.yaml:3: …`."""
    count: int = 1
    """How often it was given, for -v."""

    @property
    def argument(self) -> str:
        """The option as one argument for sbatch."""
        return f"--{self.option.name}" + ("" if self.value is None else f"={self.value}")


@dataclass
class CommandLine:
    """The parts of a command line: options, the config or batch script, its arguments."""

    options: list[GivenOption] = field(default_factory=list)
    operands: list[str] = field(default_factory=list)
    arguments: tuple[str, ...] = ()
    """The words behind a batch script, or after `--` behind a config."""
    is_script: bool = False
    """Whether the operand is a batch script."""

    def given(self, name: str) -> str | None:
        """Return the value of an option, "" where it has none; None: it is not given."""
        values = [given.value or "" for given in self.options if given.option.name == name]
        return values[-1] if values else None


def parse(
    arguments: Sequence[str],
    table: OptionTable,
    is_script: Callable[[str], bool] = lambda _: False,
) -> CommandLine:
    """Parse a command line.

    Options may precede and follow a config, and arguments after `--` are the trainer's. All words
    behind a batch script are the script's arguments, as with sbatch.

    Args:
        arguments: the words behind the command's name.
        table: the known options.
        is_script: whether an operand is the path of a batch script.

    Raises:
        UsageError: an unknown or ambiguous option, a missing or unexpected argument.
    """
    line = CommandLine()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--" and not line.operands and rest and is_script(rest[0]):
            continue
        if word == "--":
            line.arguments = tuple(rest)
            break
        if word == ":":
            raise UsageError(_HETEROGENEOUS)
        if word.startswith("--"):
            line.options.append(_long(word, rest, table))
        elif word.startswith("-") and word != "-":
            line.options += _short(word, rest, table)
        else:
            line.operands.append(word)
            if line.operands == [word] and is_script(word):
                line.is_script, line.arguments = True, tuple(rest)
                break
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
        f"--{name}: sbatch has no such option; {hint}(options of a batch script go behind it, "
        "those of a trainer after --, those of a site's plugin into site_options of site.toml)"
    )


def _short(word: str, rest: list[str], table: OptionTable) -> list[GivenOption]:
    """Parse a group such as `-vN4`: flags, optionally followed by an option with its argument."""
    options: list[GivenOption] = []
    for index, letter in enumerate(word[1:], start=1):
        origin = f"-{letter}"
        option = table.by_short.get(letter)
        if option is None:
            raise UsageError(
                f"{origin}: sbatch has no such option (options of a batch script go behind it, "
                "those of a trainer after --)"
            )
        origin = f"-{letter} (--{option.name})"
        if option.argument is Argument.NONE:
            options.append(GivenOption(option=option, value=None, origin=origin))
            continue
        value: str | None = word[index + 1 :] or None
        if value is None and option.argument is Argument.REQUIRED:
            value = _next(origin, rest)
        options.append(GivenOption(option=option, value=value, origin=origin))
        break
    return options


def _next(origin: str, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"{origin}: expected an argument, got nothing")
    return rest.pop(0)


def from_environment(environ: Mapping[str, str], table: OptionTable) -> list[GivenOption]:
    """Return the options that variables such as SBATCH_PARTITION set."""
    options = []
    for option in table.by_name.values():
        for variable in option.variables:
            value = environ.get(variable)
            # SBATCH_… overrides SLURM_HINT and SLURM_CLUSTERS, because sbatch reads it after them.
            if value is not None and (given := _from_variable(option, variable, value)) is not None:
                options.append(given)
    return options


def _from_variable(option: Option, variable: str, value: str) -> GivenOption | None:
    """Read a variable as sbatch does: empty text, `yes` or a number other than 0 set a flag."""
    if option.argument is Argument.NONE or (option.name == "requeue" and value != "expedite"):
        if value and value.lower() != "yes" and not (value.isdigit() and int(value)):
            return None
        return GivenOption(option=option, value=None, origin=variable)
    if option.argument is Argument.OPTIONAL:
        return GivenOption(option=option, value=value or None, origin=variable)
    return GivenOption(option=option, value=value, origin=variable)


def from_settings(
    sbatch: Mapping[str, OptionSetting], table: OptionTable
) -> tuple[list[GivenOption], list[str]]:
    """Return the options of settings files, and all problems with them."""
    options: list[GivenOption] = []
    problems: list[str] = []
    for name, setting in sbatch.items():
        option = table.by_name.get(name)
        if option is None:
            near = nearest(name, table.by_name)
            expected = f"--{near}" if near else "an option of sbatch by its long name"
            problems.append(f"{setting.origin}: expected {expected}, got {name!r}")
        elif isinstance(setting.value, str) and option.argument is Argument.NONE:
            problems.append(f"{setting.origin}: expected true or false, got {setting.value!r}")
        elif setting.value is True and option.argument is Argument.REQUIRED:
            problems.append(f"{setting.origin}: expected a value, got true")
        else:
            value = setting.value if isinstance(setting.value, str) else None
            options.append(GivenOption(option=option, value=value, origin=setting.origin))
    return options, problems


def value_of(options: Mapping[str, GivenOption], name: str) -> str | None:
    """Return the value of an option; None if it is not given or has no value."""
    return options[name].value if name in options else None


def layered(layers: Sequence[Sequence[GivenOption]]) -> dict[str, GivenOption]:
    """Return the options by name; a later layer overrides an earlier one. The order is kept.

    Options of one layer that exclude each other are all kept: sbatch reports that.
    """
    result: dict[str, GivenOption] = {}
    for layer in layers:
        names = {given.option.name for given in layer}
        for given in layer:
            before = result.pop(given.option.name, None)
            for other in given.option.excludes:
                if other not in names:
                    result.pop(other, None)
            repeated = before is not None and given.option.name == "verbose"
            count = before.count + 1 if before is not None and repeated else 1
            result[given.option.name] = replace(given, count=count)
    return result
