"""The runs of a walk over a supervisor's crash points: a trainer of a few lines of shell each.

What a trainer does depends on the checkpoint that it starts from and on what earlier attempts have
left in its folder, not on the number of the attempt: an interrupted run has one attempt more.
"""

from dataclasses import dataclass

from contrib.testing.managed_cluster import KNOWN_CAUSE

EVERY = 5
"""Steps between two checkpoints."""
_TRAINER = r"""#!/bin/bash
# usage: trainer FOLDER CHECKPOINTS STEP
folder=$1 checkpoints=$2 from=$3
exec 9>>"$folder/lock"
flock --nonblock 9 || echo "attempt $CSX_RESTART_ATTEMPT" >>"$folder/two-at-once"
echo "$CSX_RESTART_ATTEMPT $from $SLURM_JOB_NUM_NODES" >>"$folder/started"
save() {
    cp "$folder/checkpoint_$1.mdl" "$checkpoints/.new-$1"
    mv "$checkpoints/.new-$1" "$checkpoints/checkpoint_$1.mdl"
    echo "$1" >>"$folder/saved"
}
fail() { echo "$CSX_RESTART_ATTEMPT" >>"$folder/failed"; echo "$1"; exit 3; }
finish() { echo "$CSX_RESTART_ATTEMPT" >>"$folder/finished"; exit 0; }
once() { mkdir "$folder/$1" 2>/dev/null; }
@STEPS@
"""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A run whose supervisor is interrupted, and the result that it must come to."""

    meaning: str
    steps: str
    """What the trainer does, in shell."""
    last: int
    """The last step."""
    starts: tuple[int, ...]
    """From which step the trainers start if nothing is interrupted."""
    nodes: int = 1
    min_nodes: int = 1
    spares: int = 0
    max_restarts: int = 2
    """So many that one more failure than without an interruption is within the budget."""
    node_down: bool = False
    """Whether the last node of the first attempt is set DOWN while its trainer waits for it."""
    requeues: int = 0
    """How often the job is requeued if nothing is interrupted."""
    fails: bool = False
    """Whether no attempt makes progress, so that the budget ends the run."""
    falls_back: bool = False
    """Whether attempts start from an older checkpoint than the newest."""

    @property
    def trainer(self) -> str:
        """The program."""
        return _TRAINER.replace("@STEPS@", self.steps)


_FIRST = "[ $from != 0 ] || save 5"
_FAILS = f'once fails && fail "{KNOWN_CAUSE}"'
_WAITS = 'once waits && { srun --kill-on-bad-exit=1 sh -c "exec sleep 600"; exit; }'
_LAST = "save 10; finish"
_BACK = """case $from in
0) save 5; save 10; fail "cannot go on" ;;
10) fail "cannot go on" ;;
esac
save 15; finish"""
FOLLOWED = {
    "done": Followed(
        meaning="one attempt, which finishes: its preparation and its end",
        steps="save 5; finish",
        last=5,
        starts=(0,),
    ),
    "in-place": Followed(
        meaning="a failure after a checkpoint: restarted in place, then success",
        steps=f"{_FIRST}\n{_FAILS}\n{_LAST}",
        last=10,
        starts=(0, 5),
    ),
    "lost": Followed(
        meaning="two nodes, one is lost: the run goes on in its allocation with the other",
        steps=f"{_FIRST}\n{_WAITS}\n{_LAST}",
        last=10,
        starts=(0, 5),
        nodes=2,
        node_down=True,
    ),
    "spare": Followed(
        meaning="two nodes and a spare, one is lost: the spare takes its place",
        steps=f"{_FIRST}\n{_WAITS}\n{_LAST}",
        last=10,
        starts=(0, 5),
        nodes=2,
        min_nodes=2,
        spares=1,
        node_down=True,
    ),
    "back": Followed(
        meaning="no attempt survives the newest checkpoint: the one before it is used",
        steps=_BACK,
        last=15,
        starts=(0, 10, 5),
        requeues=1,
        falls_back=True,
    ),
    "spent": Followed(
        meaning="no attempt makes progress: exactly max_num_restarts restarts",
        steps=f'fail "{KNOWN_CAUSE}"',
        last=5,
        starts=(0, 0, 0),
        fails=True,
    ),
}
