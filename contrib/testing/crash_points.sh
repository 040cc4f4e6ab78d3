#!/bin/sh
# Stands in for scontrol, squeue, sinfo and scancel where the plugin calls them. Records each call by
# caller and job, and interrupts the caller at a planned one; see crash_points.py, which fills in
# the paths. Builtins only, as long as nothing is planned: a call costs few milliseconds more.
real=@BIN@/${0##*/}
points=@POINTS@
slurmctld_pid=@SLURMCTLD_PID@

command_line=$(tr '\0' ' ' <"/proc/$PPID/cmdline" 2>/dev/null)
case $command_line in
*slurm_restart.control.requeue_helper*) caller=helper ;;
*slurm_restart.control.epilog*) caller=hook ;;
*' reconcile '*) caller=reconciler ;;
*csx-epilog*) caller=front ;;
*) exec "$real" "$@" ;;
esac

# The job is the only number among the arguments. A call without one (all nodes, the configuration)
# belongs to the job that its caller has named last.
job=
for argument; do
    argument=${argument#JobId=}
    case $argument in
    '' | *[!0-9]*) ;;
    *) job=$argument ;;
    esac
done
last=$points/last.$PPID
if [ -n "$job" ]; then
    echo "$job" >"$last"
elif [ -e "$last" ]; then
    read -r job <"$last"
fi

here=$points/$caller.$job
[ -d "$here" ] || exec "$real" "$@"
# Without clobbering, each number is taken by one call. `command` keeps the shell from ending.
set -C
number=1
until { command : >"$here/call.$number"; } 2>/dev/null; do
    number=$((number + 1))
    [ "$number" -le 400 ] || exec "$real" "$@"
done
set +C
call="${0##*/} $*"
echo "$(date +%s.%N) $PPID $call" >"$here/call.$number"

planned=
{ read -r when act planned <"$here/plan"; } 2>/dev/null
# `*` plans every call, anything else one call: its number, or a pattern of its text.
[ "$planned" = '*' ] || [ ! -e "$here/reached" ] || exec "$real" "$@"
# shellcheck disable=SC2254 # the plan is a pattern
case $number in
$planned) ;;
*)
    case $call in
    $planned) ;;
    *) exec "$real" "$@" ;;
    esac
    ;;
esac
echo "$number" >"$here/reached"

status=0
if [ "$when" = after ]; then
    "$real" "$@" >"$here/output" 2>"$here/errors" || status=$?
fi
case $act in
kill)
    kill -KILL "$PPID"
    exit 1
    ;;
freeze)
    kill -STOP "$PPID"
    sleep 10 # longer than a sweep and a helper need: what they do meanwhile is under test
    kill -CONT "$PPID"
    ;;
run) sh "$here/command" >"$here/command.output" 2>&1 ;;
slurmctld)
    kill -KILL "$(cat "$slurmctld_pid")"
    : >"$points/slurmctld-killed"
    ;;
esac
[ "$when" = after ] || exec "$real" "$@"
cat "$here/output"
cat "$here/errors" >&2
exit "$status"
