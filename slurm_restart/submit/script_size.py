"""The size of a batch script's job: fixed by its options, or one that restarts may reduce."""

import re
from collections.abc import Mapping

from slurm_restart.core.job_comment import MAX_NODES
from slurm_restart.frozen import frozen
from slurm_restart.submit.argv import GivenOption, value_of
from slurm_restart.trainer.settings import Settings

_NODES = re.compile(r"(?P<least>[1-9][0-9]{0,5})(-(?P<most>[1-9][0-9]{0,5}))?", re.ASCII)


@frozen
class ScriptSize:
    """Nodes of a full-size attempt and of the smallest one."""

    num_nodes: int
    """With a fixed size: the least that --nodes asks for, as Slurm determines the number."""
    min_nodes: int
    is_fixed: bool
    """Whether the size is what sbatch makes of the user's options and never changes."""

    @property
    def can_shrink(self) -> bool:
        """Whether a restart may have fewer nodes."""
        return self.min_nodes < self.num_nodes


def script_size(
    options: Mapping[str, GivenOption], settings: Settings
) -> tuple[ScriptSize, list[str]]:
    """Return the size that the options make, and what is wrong with --min-nodes and --spares.

    Only --min-nodes below one number of --nodes, or --spares, lets the size change. Options that
    would not fit another size are then refused where options are merged.
    """
    match = _NODES.fullmatch(value_of(options, "nodes") or "")
    nodes = min(int(match["least"]), MAX_NODES) if match else 1
    fixed = ScriptSize(num_nodes=nodes, min_nodes=nodes, is_fixed=True)
    spares, least = settings.spares or 0, settings.script_min_nodes
    if least is None and not spares:
        return fixed, []
    origin = settings.origins["spares" if least is None else "script_min_nodes"]
    least = nodes if least is None else least
    if match is None or match["most"] not in (None, match["least"]):
        got = options["nodes"].argument if "nodes" in options else "nothing"
        return fixed, [f"{origin}: expected --nodes with one number beside it, got {got}"]
    if least > nodes:
        return fixed, [
            f"{origin}: expected a whole number from 1 to {nodes} (--nodes), got {least}"
        ]
    if least == nodes and not spares:
        return fixed, []
    return ScriptSize(num_nodes=nodes, min_nodes=least, is_fixed=False), []
