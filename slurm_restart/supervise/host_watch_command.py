"""The command of the watch of a batch host: a shell that reads a heartbeat and asks Slurm.

It is run by a job step on another node, see `batch_host_watch`.
"""

import sys

from slurm_restart.frozen import frozen
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.supervise.child_process import ROOT
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.job_processes import NOT_THE_TRAINERS
from slurm_restart.trainer.rundir import RunDir

INTERVAL = 10.0
"""Seconds between two heartbeats, and between two looks at them."""
PATIENCE = 3
"""Looks without a heartbeat after which Slurm is asked."""
AGAIN = 3
"""Looks until it is asked again."""
SOON = 60
"""Looks without a heartbeat up to which it is asked at each look, where the job requeues itself.

Slurm finds a dead node within SlurmdTimeout (300 s by default) and a round of pings. After that, a
thousand jobs on a file system that does not answer are to ask it no more often than necessary.
"""
STEP_NAME = "csx-host-watch"
SCRIPT = """\
exec >/dev/null 2>&1
trap 'ended=1' USR2
trap '[ -n "$ended" ] || ended=by-slurm' TERM
trap '' HUP INT QUIT USR1 ALRM # for the program (--signal)
file=$1 pause=$2 patience=$3 soon=$4 again=$5 last= same=0 ended=
shift 5
while [ -z "$ended" ]; do
    sleep "$pause"
    case $? in
        0) ;;
        143) ended=${ended:-by-slurm} ;; # TERM, which Slurm sends this shell only a moment later
        *) ended=${ended:-1} ;;
    esac
    [ -z "$ended" ] || break
    now=
    read -r now <"$file"
    if [ "$now" != "$last" ]; then
        last=$now same=0
        continue
    fi
    same=$((same + 1))
    [ "$same" -ge "$patience" ] || continue
    [ "$same" -le "$soon" ] || [ $(((same - patience) % again)) -eq 0 ] || continue
    "$@" "$now" && exit
done
trap '' TERM USR2 # Slurm may send TERM again while it is asked: the commands ignore it too
# The supervisor removes its heartbeat in the end: if it is left, it may have been killed.
[ "$ended" = by-slurm ] && [ "$soon" -gt 0 ] && [ -e "$file" ] && "$@" "$last" ending
exit 0 # the exit codes of all steps are in DerivedExitCode of the job
"""
"""The watch, for any POSIX shell. A signal to its step ends `sleep` too, and so the watch.

The supervisor ends it by USR2, and Slurm by TERM with the job.
"""
_CODE = """
import sys
sys.path.append(sys.argv.pop(1))
from slurm_restart.supervise.lost_batch_host import main
main()
"""


@frozen
class Pace:
    """How soon a watch acts."""

    soon: int
    """Looks without a heartbeat up to which Slurm is asked at each look. If there are any, it is
    asked at the end of the job too."""
    others: float
    """Seconds that others have for the requeue, from when the loss is first seen."""


FIRST = Pace(soon=SOON, others=0)
"""Of a job that requeues itself."""
SECOND = Pace(soon=0, others=20)
"""The same on one more node, in case that the first one's node is lost with the batch host."""
AFTER_RECONCILER = Pace(soon=0, others=180)
"""Of a job that the hook requeues. The site's reconciler takes up to 90 s by default: a sweep every
30 s, and `stale_running_after` (60 s)."""


def watch_command(run_dir: RunDir, job: JobEnvironment, pace: Pace) -> list[str]:
    """Return the command of the watch.

    Args:
        run_dir: the phase's directory.
        job: the allocation.
        pace: how soon it acts.
    """
    held = format_hostlist(job.held or job.nodes)
    question = (sys.executable, "-I", "-c", _CODE, ROOT, str(run_dir.path))
    facts = (str(job.job_id), str(job.restarts), job.node_name or "", held, f"{pace.others:g}")
    limits = (f"{INTERVAL:g}", str(PATIENCE), str(pace.soon), str(AGAIN))
    mark = f"{NOT_THE_TRAINERS.decode()}=1"
    shell = ("/bin/sh", "-c", SCRIPT, STEP_NAME)
    return ["env", mark, *shell, str(run_dir.heartbeat), *limits, *question, *facts]
