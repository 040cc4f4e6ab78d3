"""Texts of the tables in docs/explanation/decisions.md that the code itself does not hold.

A key that the code no longer has, or has anew, fails contrib/docs and tests/unit/test_docs.py.
"""

RULES = {
    "slurm.prolog_failed": "Slurm has requeued and held the job because a node's prolog failed",
    "slurm.protective_hold": "slurmctld itself holds the job: reason JobHoldMaxRequeue (more than "
    "MaxBatchRequeue launch failures), JobHeldMaxNodeFailRequeue, JobHeldMaxPreemptRequeue, or "
    "their texts",
    "state.requeue_hold": "the job was requeued on hold: `scontrol requeuehold`, a hold, or the "
    "site's RequeueExitHold",
    "state.deadline": "state DEADLINE, or reason DeadLine",
    "slurm.usage_limit": "the reason is a limit of the association or the QOS, and the job is not "
    "pending again, when such a reason only says why it waits",
    "state.resv_del_hold": "the job's reservation was deleted",
    "state.preempted": "Slurm shows a PreemptTime of this very attempt. The state PREEMPTED alone "
    "is no proof: on 24.11 it returns at every later end of a job that was once preempted with a "
    "grace time",
    "job.reported_completed": "the supervisor saw the trainer finish, and the exit code is 0 (a "
    "TIMEOUT or a preemption apart: one more attempt then ends as success, and dependents live)",
    "slurm.prolog_drained": "Slurm has requeued the job without a hold (nohold_on_prolog_fail), "
    "the supervisor has not started, and a node of the attempt is drained because its prolog "
    "failed",
    "state.node_fail": "Slurm gave up a node: state NODE_FAIL, reason NodeDown, a restart count "
    "that only a node failure leaves behind (before 24.11), or the job is pending again, no hook "
    "saw the end, and a node of the attempt is down",
    "job.reported_before_requeue": "Slurm has requeued the job, and the supervisor had seen the "
    "trainer end by itself with a known cause",
    "state.boot_fail": "state BOOT_FAIL",
    "slurm.stepd_lost": "Slurm has requeued the job, with wait status 1: the batch step's "
    "slurmstepd is gone",
    "job.failed_before_requeue": "the job is pending again already, Slurm shows no exit status, "
    "and the supervisor had seen the trainer fail by itself",
    "state.requeued": "the job is pending again already, and had not failed by itself: requeued by "
    "a person, or (where Slurm does not tell the two apart) preempted with requeue. After a "
    "failure the site's RequeueExit has requeued it: the rules below give the category, and it "
    "counts",
    "slurm.reservation_ended": "TIMEOUT more than 60 s before the time limit, of a job in a "
    "reservation",
    "slurm.early_timeout": "TIMEOUT more than 60 s before the time limit, or without one: "
    "slurmctld shows a used-up usage limit in this way (GrpTRESMins)",
    "state.timeout": "state TIMEOUT, or reason TimeLimit",
    "state.cancelled": "state CANCELLED",
    "state.out_of_memory": "state OUT_OF_MEMORY, or reason OutOfMemory",
    "state.completed": "state COMPLETED",
    "slurm.no_report": "exit code 0, and the supervisor did not report that the run has "
    "finished: before 24.11 this is how a cancelled job looks while COMPLETING",
    "job.time_limit": "the supervisor ended the trainer because the time limit was near, and the "
    "attempt did run that long",
    "job.fatal": "the supervisor's judgement of exit status and log is for certain a cause that no "
    "restart mends (a run that has finished and fails all the same is none: its next attempt ends "
    "as success at once)",
    "job.left_node": "the supervisor left a node behind: one that failed the health check and is "
    "named, or one that Slurm shows drained",
    "slurm.node_down": "a node of the job is down, whatever else happened",
    "job.reported": "the supervisor's judgement of exit status and log is any other known cause, "
    "one that is only likely included, or a stop that it has put off",
    "slurm.exit_not_recorded": "state PREEMPTED with exit status 0:0, without a PreemptTime: "
    "slurmctld records no exit status then",
    "exit.crash": "the batch script or the trainer died of SIGILL, SIGABRT, SIGBUS, SIGFPE or "
    "SIGSEGV",
    "exit.not_run": "exit code 126 or 127 without a report of the supervisor: the shell found no "
    "such command, or could not run it",
    "exit.nonzero": "an exit code or a signal, and nothing else is known",
    "unlisted": "anything else",
}

STOPS = {
    "stopped": "a person wanted the run to end with this attempt (`csx-restart stop`); one "
    "that has completed counts as completed",
    "not-recoverable": "the category's row says that no restart helps",
    "requeue-disabled": "the job's Requeue flag is off (`scontrol update Requeue=0`)",
    "total-cap": "restarts in all, those that never count apart, have reached the site's "
    "`max_total_restarts`; Slurm's own restart count, which no user can forge, is counted too",
    "uncounted-cap": "restarts that never count have reached the site's "
    "`max_uncounted_restarts`, by Slurm's own count too",
    "prolog-repeated": "a node's prolog failed, and the attempt before ended in the same way: the "
    "job stays held by Slurm, as after every stop for a failed prolog",
    "prolog-share": "a node's prolog failed, and in a partition of the job more nodes are drained "
    "for that reason than the site's `max_prolog_failed_share` allows (one always), or would be if "
    "the prolog failed on as many nodes of the next attempt: the job stays held, or is cancelled "
    "where Slurm does not hold it (nohold_on_prolog_fail)",
    "oom-repeated": "the node's memory was used up a second time at the same step",
    "repeated": "the same root-cause line at the same step for the `stop_on_repeat`th time (only "
    "`data.corrupt`, `numeric.nan` and stops that were put off); NaN only once it has come [on "
    "different nodes](node-search.md#nan), or where no node can be left out",
    "budget": "more than `max_num_restarts` ends in a row without progress",
}

ACTIONS = {
    "requeue": "`scontrol requeue` while the job is COMPLETING, then exclusions, size, begin time",
    "adjust": "Slurm, or a person, has requeued the job already: only exclusions, size and begin "
    "time are set",
    "release": "Slurm has requeued the job and held it (a failed prolog): it is set right and "
    "released",
    "cancel": "Slurm has requeued the job, but it is not to run again: AdminComment says why, then "
    "`scancel`",
    "relaunch": "the supervisor starts the next attempt in the same allocation "
    "([in place](../howto/user-guide.md#restart-in-place)); the hook sees no end",
    "relaunch_smaller": "the same on fewer nodes, as one of the allocation is lost, or "
    "[not healthy](../howto/healthy-nodes.md) before the start, and no spare is left "
    "([lost nodes](../howto/user-guide.md#lost-nodes-and-spares))",
    "swap": "the same with a spare node of the allocation in place of one that is lost, drained, "
    "blamed or not healthy",
    "leave": "nothing: the job keeps the final state that Slurm gave it, or stays held",
}
