"""Find where a shell script uses the path of a checkpoint, with a blank in it, without quotes."""

import os
import re
from collections.abc import Iterator
from pathlib import PurePath

from slurm_restart.submit.batch_script import WRAPPED, BatchScript
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout

_NAME = "CSX_RESTART_CHECKPOINT"
_USE = re.compile(rf"\$(?:{_NAME}\b|\{{{_NAME}\}})")
_SHELLS = frozenset({"sh", "bash", "dash", "ksh"})
"""They cut the value of a variable into words."""
_NOT_CUT = re.compile(r"^\s*#|\[\[.{0,200}$|(?:^|[\s;&|(])[A-Za-z_]\w{0,80}=$")
"""What stands before a use that is not cut: of a comment, in a condition of bash, as a value."""


def unquoted_checkpoint(script: BatchScript, checkpoint: CheckpointLayout) -> Iterator[str]:
    """Yield a warning for the first use without quotes, if the path of checkpoints has a blank."""
    path = f"{checkpoint.directory}/{checkpoint.written or ''}"
    if checkpoint.format is CheckpointFormat.NONE or re.search(r"\s", path) is None:
        return
    if PurePath(script.interpreter[0]).name not in _SHELLS:
        return
    for number, line in enumerate(os.fsdecode(script.data).split("\n"), start=1):
        for use in _USE.finditer(line):
            before = line[: use.start()]
            if before.count('"') % 2 == 0 and _NOT_CUT.search(before) is None:
                place = "--wrap" if script.path == WRAPPED else f"{script.path}:{number}"
                yield (
                    f"{place}: {use[0]} is not in double quotes, and there is a "
                    f"blank in {checkpoint.directory!r}: a restart gets several arguments"
                )
                return
