"""Options that several commands have."""

from collections.abc import Callable
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


def timeout_option(seconds: int, text: str) -> Callable[[Callable[..., Any]], Any]:
    """Return the option --timeout.

    Args:
        seconds: its default.
        text: its help.
    """
    return click.option(
        "--timeout", type=click.IntRange(1), default=seconds, show_default=True, help=text
    )
