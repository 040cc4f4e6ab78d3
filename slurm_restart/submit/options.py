"""What becomes of every option of sbatch (22.05 to 26.05): the table, by long and short name."""

from collections.abc import Sequence

from slurm_restart.submit.option import Argument, Option, OptionHandling
from slurm_restart.submit.option_rows import OWN, SBATCH


class OptionTable:
    """The options of one invocation: sbatch's, csx-sbatch's, and those of the site's plugins."""

    def __init__(self, site_options: Sequence[str] = ()) -> None:
        """`site_options`: names of SPANK options; `name=` takes an argument, `name` may."""
        rows = (*map(_site_option, site_options), *OWN, *SBATCH)
        self.by_name: dict[str, Option] = {option.name: option for option in rows}
        self.by_short: dict[str, Option] = {row.short: row for row in rows if row.short}

    def named(self, text: str) -> tuple[Option, ...]:
        """The options that a long name or the beginning of one can mean, as getopt_long(3)."""
        if text in self.by_name:
            return (self.by_name[text],)
        return tuple(option for name, option in self.by_name.items() if name.startswith(text))


def _site_option(text: str) -> Option:
    argument = Argument.REQUIRED if text.endswith("=") else Argument.OPTIONAL
    return Option(
        name=text.removesuffix("="),
        short=None,
        argument=argument,
        handling=OptionHandling.PASSED,
        note="an option of this site",
    )
