"""The expected causes, written by hand: (rule, category, confidence) by state or exit status."""

STATE_ROWS = {
    "COMPLETED": ("state.completed", "completed", "certain"),
    "CANCELLED": ("state.cancelled", "cancelled", "certain"),
    "DEADLINE": ("state.deadline", "deadline", "certain"),
    "TIMEOUT": ("state.timeout", "timeout", "certain"),
    "PREEMPTED": ("state.preempted", "preemption", "certain"),
    "NODE_FAIL": ("state.node_fail", "hardware.node", "certain"),
    "BOOT_FAIL": ("state.boot_fail", "hardware.node", "certain"),
    "OUT_OF_MEMORY": ("state.out_of_memory", "oom_host", "certain"),
    "REQUEUED": ("state.requeued", "requeued", "certain"),
    "REQUEUE_HOLD": ("state.requeue_hold", "held", "certain"),
    "RESV_DEL_HOLD": ("state.resv_del_hold", "reservation_ended", "certain"),
}
# By (exit code, signal).
EXIT_ROWS = {
    (1, 0): ("exit.nonzero", "unknown", "guess"),
    (125, 0): ("exit.nonzero", "unknown", "guess"),
    (126, 0): ("exit.not_run", "config", "likely"),
    (127, 0): ("exit.not_run", "config", "likely"),
    (128, 0): ("exit.nonzero", "unknown", "guess"),
    (0, 9): ("exit.nonzero", "unknown", "guess"),
    (137, 0): ("exit.nonzero", "unknown", "guess"),
    **{(0, number): ("exit.crash", "software.crash", "likely") for number in (4, 6, 7, 8, 11)},
    **{(128 + n, 0): ("exit.crash", "software.crash", "likely") for n in (4, 6, 7, 8, 11)},
}
