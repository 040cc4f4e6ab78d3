"""The table of sbatch's options, in the order of its manual page."""

from slurm_restart.submit.option import COMMENT_LIMIT, Argument, Option, OptionHandling

_NO, _REQUIRED, _OPTIONAL = Argument.NONE, Argument.REQUIRED, Argument.OPTIONAL
_SRUN = "put it on the srun of `command`"
_TASKS = (
    "a number of tasks stays the same when a restart has fewer nodes, and breaks every step: "
    f"{_SRUN} (a launch without it has one task a node)"
)
_GEOMETRY = (
    "Slurm then refuses to make the job smaller (measured on 22.05 and 25.11): whole nodes are "
    f"allocated anyway, so {_SRUN}, or set min_num_csx to num_csx"
)
_SEGMENTS = "fewer nodes need not be whole segments: set min_num_csx to num_csx"
_PINNED = (
    "a job pinned to nodes cannot be restarted without a faulty one: choose nodes with "
    "--constraint, --partition, --reservation or --exclude"
)
_FEDERATION = (
    "a restart is decided by the cluster that the job runs on: submit on that cluster, or set "
    "SLURM_CONF to its file"
)
_CONTAINER = (
    f"the supervisor runs outside the container: {_SRUN}, or use the container's own launcher there"
)
_OTHER_USER = "run directories belong to the submitting user: run csx-sbatch as that user"


def _row(
    names: str,
    argument: Argument = _REQUIRED,
    handling: OptionHandling = OptionHandling.PASSED,
    note: str = "",
    *,
    env: str = "",
    excludes: str = "",
    script: OptionHandling | None = None,
) -> Option:
    """Return a row from short forms: `account A`, variables and options separated by blanks."""
    name, _, short = names.partition(" ")
    return Option(
        name=name,
        short=short or None,
        argument=argument,
        handling=handling,
        note=note,
        variables=tuple(env.split()),
        excludes=tuple(excludes.split()),
        script_handling=script,
    )


def _refused(names: str, note: str, argument: Argument = _REQUIRED, *, env: str = "") -> Option:
    return _row(names, argument, OptionHandling.REFUSED, note, env=env)


def _sized(names: str, note: str, argument: Argument = _REQUIRED, *, env: str = "") -> Option:
    """Return a row that is refused for a config, and for a script whose size may change."""
    fixed = OptionHandling.PASSED_IF_FIXED_SIZE
    return _row(names, argument, OptionHandling.REFUSED, note, env=env, script=fixed)


def _fixed(names: str, note: str, argument: Argument = _REQUIRED, *, env: str = "") -> Option:
    return _row(names, argument, OptionHandling.PASSED_IF_FIXED_SIZE, note, env=env)


def _merged(names: str, note: str, argument: Argument = _REQUIRED, *, env: str = "") -> Option:
    return _row(names, argument, OptionHandling.MERGED, note, env=env)


def _own(names: str, note: str, argument: Argument = _NO) -> Option:
    return _row(names, argument, OptionHandling.HANDLED_HERE, note)


def _restart(name: str, note: str) -> Option:
    return _row(name, _REQUIRED, OptionHandling.RESTART, note)


OWN: tuple[Option, ...] = (
    _own("mode", "fit, train_and_eval, validate or validate_all; fit unless given", _REQUIRED),
    _own("num-csx", "CSX systems of a full-size attempt, instead of the config's", _REQUIRED),
    _own("dry-run", "prints what would be submitted on this cluster, and changes nothing"),
    _own("print", "the same"),
    _own("json", "prints the result as JSON"),
)

RESTART: tuple[Option, ...] = (
    _restart(
        "max-restarts",
        "restarts in a row without progress; 3 unless given. For a batch script: a config has "
        "max_num_restarts",
    ),
    _restart(
        "min-nodes",
        "a restart may have as few nodes as this; it needs --nodes with one number and no other "
        "option that fixes the size. For a batch script: a config has min_num_csx",
    ),
    _restart(
        "run-dir",
        "where run directories are made; `csx-restart` in the job's directory unless given. For a "
        "batch script: a config has model_dir",
    ),
    _restart(
        "checkpoint",
        "the checkpoints that the program writes, such as `ckpt/step-{step}.pt`: `{step}` stands "
        "for the number, `*` for any text; a directory where --checkpoint-format has names. It may "
        "be a URL",
    ),
    _restart(
        "checkpoint-format",
        "`torch`, `safetensors`, `hf`, `lightning`, `dcp`, `deepspeed`, `orbax`, `keras`, `hdf5`, "
        "`npz` and others: their names and how it is checked that they are complete",
    ),
    _restart(
        "checkpoint-complete",
        "a file that exists once a checkpoint is complete, such as `{path}.done`",
    ),
    _restart(
        "checkpoint-warn-after",
        "after how long without a checkpoint the log and `csx-restart status` say so; 30min unless "
        "given",
    ),
    _restart(
        "checkpoint-saved",
        "where --checkpoint is a URL such as `s3://bucket/run/step-{step}.pt`: a regular "
        "expression over lines of output that say that a checkpoint was saved; its group `path` is "
        "the checkpoint, as in `uploaded to (?P<path>\\S+)`",
    ),
    _restart(
        "stop-signal",
        "the signal that asks the program to save and end ahead of the time limit: TERM unless "
        "given, or what a batch script's --signal says",
    ),
    _restart(
        "progress",
        "for a program without known checkpoints: a regular expression over its output, of which "
        r"the first group is the step, such as `step (\d+)`",
    ),
    _restart("progress-file", "the same: a file that grows while the program gets on"),
    _restart(
        "progress-after",
        "the same: an attempt that lasts longer has made progress; 1h unless given",
    ),
    _restart(
        "health-check",
        "what is run on every node before the program is started: a command, or ready-made checks "
        "(`cpu,memory,disk,network,gpu`); both if given twice",
    ),
    _restart("health-check-timeout", "how long a node may take for its checks; 60s unless given"),
    _restart(
        "health-check-when",
        "`auto` (before the first attempt, and after failures of hardware or network or without a "
        "known cause), `always` or `never`",
    ),
    _restart(
        "leave-drained",
        "`true`: a node that the site drains while the run is on it is left at the next checkpoint",
    ),
    _restart(
        "compile-prefetch",
        "`on` or `off`: compile the sizes of smaller restarts while the run executes; `on` where a "
        "config starts `cszoo fit` alone on CS systems and may become smaller, unless given",
    ),
    _restart(
        "watchdog",
        "`off`, `report` or `on` (unless given): end a run that hangs, so that it restarts; or "
        "thresholds, such as `floor=1h,busy_factor=6,steps=step (\\d+)`",
    ),
    _restart("rules", "a file of rules over log lines; may be repeated"),
    _restart(
        "stop-on-repeat", "give up after the same root cause at the same step this often; 0: never"
    ),
    _restart("shrink-after", "how long a restart waits for all nodes before it takes fewer"),
    _restart("give-up-after", "how long a restart waits for nodes at all"),
    _restart("exclude-for", "how long a faulty node stays excluded"),
    _restart(
        "node-search",
        "search for a faulty node that no log names: `true` (unless given) or `false`",
    ),
    _restart(
        "recovery",
        "`auto` (unless given): in the same allocation where that is right, else a requeue; "
        "`requeue`: each restart is a start of the job by Slurm; `in-place`: in the same "
        "allocation only, by `--no-requeue`",
    ),
    _restart(
        "hook",
        "who requeues the job: `yes`: the hook; `no`: the job itself, as EpilogSlurmctld is "
        "another program; `auto` (unless given): the job itself where EpilogSlurmctld is not set",
    ),
    _restart(
        "backoff",
        "waits before restarts without progress where the job requeues itself; `30s,2min,5min` "
        "unless given",
    ),
    _restart(
        "spares",
        "how many more nodes to allocate than an attempt uses: one takes the place of a node that "
        "fails, in the same allocation; not with `--recovery=requeue`",
    ),
    _restart(
        "relaunch-min-time",
        "how much of the time limit has to be left, before its warning, for a restart in place; "
        "10min, or a tenth of a time limit below 100min, unless given",
    ),
)

SBATCH: tuple[Option, ...] = (
    _row("account A", env="SBATCH_ACCOUNT"),
    _row("acctg-freq", env="SBATCH_ACCTG_FREQ"),
    _row(
        "array a",
        handling=OptionHandling.REFUSED,
        note="submit one run for each config; of a batch script, each task is a run of its own",
        env="SBATCH_ARRAY_INX",
        script=OptionHandling.PASSED,
    ),
    _refused("autocomplete", "it completes sbatch's own command line in a shell"),
    _row("batch", env="SBATCH_BATCH"),
    _row("bb", env="SBATCH_BURST_BUFFER"),
    _row("bbf"),
    _row("begin b"),
    _row("chdir D", note="paths in the config are relative to it"),
    _refused("cluster", _FEDERATION),
    _refused("cluster-constraint", _FEDERATION, env="SBATCH_CLUSTER_CONSTRAINT"),
    _refused("clusters M", _FEDERATION, env="SBATCH_CLUSTERS SLURM_CLUSTERS"),
    _merged(
        "comment",
        f"appended to the comment record that restarts need (a JSON object takes the record in as "
        f"its first value); at most {COMMENT_LIMIT} bytes, no control characters",
    ),
    _fixed("consolidate-segments", _SEGMENTS, _NO, env="SBATCH_CONSOLIDATE_SEGMENTS"),
    _merged(
        "constraint C",
        "passed; with node counts (`*N`) only where the size is fixed, as fewer nodes cannot "
        "satisfy them: set min_num_csx to num_csx",
        env="SBATCH_CONSTRAINT",
    ),
    _refused("container", _CONTAINER, env="SBATCH_CONTAINER"),
    _refused("container-id", _CONTAINER, env="SBATCH_CONTAINER_ID"),
    _refused("container-type", _CONTAINER, env="SBATCH_CONTAINER_TYPE"),
    _row("context"),
    _row("contiguous", _NO),
    _row("core-spec S", env="SBATCH_CORE_SPEC"),
    _fixed("cores-per-socket", _GEOMETRY),
    _row("cpu-freq", env="SBATCH_CPU_FREQ_REQ"),
    _row("cpus-per-gpu", env="SBATCH_CPUS_PER_GPU", excludes="cpus-per-task"),
    _row(
        "cpus-per-task c",
        handling=OptionHandling.PASSED_IF_FIXED_SIZE,
        note=_GEOMETRY,
        excludes="cpus-per-gpu",
    ),
    _row("deadline"),
    _row("delay-boot", env="SBATCH_DELAY_BOOT"),
    _merged(
        "dependency d",
        "the first phase gets it; each later phase depends on the one before it with afterok",
    ),
    _row("distribution m", env="SBATCH_DISTRIBUTION"),
    _row("error e", env="SBATCH_ERROR"),
    _merged(
        "exclude x", "passed; nodes excluded by a restart are added to it, and later taken out"
    ),
    _merged(
        "exclusive",
        "always set for a config, because only whole nodes can be exchanged cleanly, and refused "
        "with a value; passed for a batch script",
        _OPTIONAL,
        env="SBATCH_EXCLUSIVE",
    ),
    _row("export", env="SBATCH_EXPORT"),
    _row("export-file"),
    _refused("external", "an external job runs nothing, so there is nothing to restart", _NO),
    _row("extra"),
    _fixed("extra-node-info B", _GEOMETRY),
    _row("get-user-env", _OPTIONAL, env="SBATCH_GET_USER_ENV"),
    _refused("gid", _OTHER_USER),
    _row("gpu-bind", env="SBATCH_GPU_BIND"),
    _row("gpu-freq", env="SBATCH_GPU_FREQ"),
    _sized(
        "gpus G",
        "a total cannot be had with fewer nodes: use --gpus-per-node or --gres",
        env="SBATCH_GPUS",
    ),
    _row("gpus-per-node", env="SBATCH_GPUS_PER_NODE"),
    _fixed(
        "gpus-per-socket",
        "it needs --sockets-per-node, with which Slurm refuses to make the job smaller: use "
        "--gpus-per-node",
        env="SBATCH_GPUS_PER_SOCKET",
    ),
    _sized("gpus-per-task", _TASKS, env="SBATCH_GPUS_PER_TASK"),
    _row("gres", env="SBATCH_GRES"),
    _row("gres-flags", env="SBATCH_GRES_FLAGS"),
    _own("help h", "prints this command's help"),
    _fixed("hint", _GEOMETRY, env="SLURM_HINT SBATCH_HINT"),
    _merged("hold H", "the first phase is held; the later ones wait for it anyway", _NO),
    _row("ignore-pbs", _NO, env="SBATCH_IGNORE_PBS"),
    _row("input i", env="SBATCH_INPUT"),
    _merged(
        "job-name J",
        "unless given: the config's file name without .yaml, or the script's file name",
        env="SBATCH_JOB_NAME",
    ),
    _row(
        "kill-on-invalid-dep",
        note="for every phase; unless given, the controller cancels the phases after one that has "
        "failed for good",
    ),
    _row("licenses L"),
    _row("mail-type"),
    _row("mail-user"),
    _row("mcs-label"),
    _row("mem", env="SBATCH_MEM_PER_NODE", excludes="mem-per-cpu mem-per-gpu"),
    _row("mem-bind", env="SBATCH_MEM_BIND"),
    _row("mem-per-cpu", env="SBATCH_MEM_PER_CPU", excludes="mem mem-per-gpu"),
    _row("mem-per-gpu", env="SBATCH_MEM_PER_GPU", excludes="mem mem-per-cpu"),
    _row("mem-update"),
    _fixed("mincpus", _GEOMETRY),
    _row("network", env="SBATCH_NETWORK"),
    _row("nice", _OPTIONAL),
    _merged(
        "no-kill k",
        "refused unless =off: csx-sbatch sets it where restarts can go on without a lost node "
        "(with `--spares`, or with fewer nodes, but not with `--recovery=requeue`); elsewhere a "
        "job that outlives its node hides the loss",
        _OPTIONAL,
        env="SBATCH_NO_KILL",
    ),
    _row(
        "no-requeue",
        _NO,
        OptionHandling.MERGED,
        "refused where the config has autorestart, which works by requeuing: take that block out, "
        "or give `--recovery=in-place`; a batch script with it runs once, without restarts",
        env="SBATCH_NO_REQUEUE",
        excludes="requeue",
    ),
    _refused("nodefile F", _PINNED),
    _refused("nodelist w", _PINNED),
    _merged(
        "nodes N",
        "one number, which has to be what num_csx makes; where neither the config nor --num-csx "
        "says it, the number of nodes gives num_csx. Passed for a batch script",
    ),
    _sized("ntasks n", _TASKS),
    _sized("ntasks-per-core", _TASKS),
    _sized("ntasks-per-gpu", _TASKS),
    _sized("ntasks-per-node", _TASKS),
    _sized("ntasks-per-socket", _TASKS),
    _sized("ntasks-per-tres", _TASKS),
    _row("oom-kill-step", _OPTIONAL),
    _merged(
        "open-mode",
        "append, always: every attempt writes to the same file, and truncate would lose the ones "
        "before",
        env="SBATCH_OPEN_MODE",
    ),
    _row("output o", env="SBATCH_OUTPUT"),
    _row("overcommit O", _NO, env="SBATCH_OVERCOMMIT"),
    _row(
        "oversubscribe s",
        _OPTIONAL,
        OptionHandling.REFUSED,
        "the nodes are allocated whole (--exclusive)",
        script=OptionHandling.PASSED,
    ),
    _own("parsable", "prints one job id a line, and nothing else"),
    _row("partition p", env="SBATCH_PARTITION"),
    _row("power", env="SBATCH_POWER"),
    _row("prefer"),
    _row("priority"),
    _row("profile", env="SBATCH_PROFILE"),
    _row("propagate", _OPTIONAL),
    _row("qos q", env="SBATCH_QOS"),
    _merged(
        "quiet Q",
        "not passed on, as sbatch then prints no job id: csx-sbatch itself prints nothing but "
        "errors, and what `--parsable`, `--json` or `--print` ask for",
        _NO,
    ),
    _row("reboot", _NO),
    _row(
        "requeue",
        _OPTIONAL,
        OptionHandling.MERGED,
        "always set where the run restarts, except with `--recovery=in-place`; refused as "
        "=expedite, because the owner cannot update such a job while it restarts",
        env="SBATCH_REQUEUE",
        excludes="no-requeue",
    ),
    _row("reservation", env="SBATCH_RESERVATION"),
    _row("resources"),
    _row("resv-ports", _OPTIONAL),
    _fixed("segment", _SEGMENTS, env="SBATCH_SEGMENT_SIZE"),
    _merged(
        "signal",
        "B:USR1@120 warns the supervisor of the time limit; another time is accepted "
        "(B:USR1@300). In a batch script's --signal, signal and receiver are those that the script "
        "expects, and the supervisor passes the signal on. With a config, another signal is set by "
        "`stop_signal`",
        env="SBATCH_SIGNAL",
    ),
    _fixed("sockets-per-node", _GEOMETRY),
    _row("spread-job", _NO, env="SBATCH_SPREAD_JOB"),
    _fixed("spread-segments", _SEGMENTS, _NO, env="SBATCH_SPREAD_SEGMENTS"),
    _row("stepmgr", _NO),
    _row("switches"),
    _sized("tasks-per-node", _TASKS),
    _own("test-only", "asks sbatch --test-only for every phase, and creates nothing"),
    _row("thread-spec", env="SBATCH_THREAD_SPEC"),
    _fixed("threads-per-core", _GEOMETRY, env="SBATCH_THREADS_PER_CORE"),
    _row("time t", env="SBATCH_TIMELIMIT"),
    _row("time-min"),
    _row("tmp"),
    _row("tres-bind", env="SBATCH_TRES_BIND"),
    _sized("tres-per-task", _TASKS, env="SBATCH_TRES_PER_TASK"),
    _refused("uid", _OTHER_USER),
    _own("usage", "prints this command's help"),
    _row("use-min-nodes", _NO, env="SBATCH_USE_MIN_NODES"),
    _row("verbose v", _NO, env="SBATCH_DEBUG"),
    _own("version V", "prints the version of this command"),
    _refused(
        "wait W",
        "it would wait for the first attempt only: follow the run with csx-restart status",
        _NO,
        env="SBATCH_WAIT",
    ),
    _row("wait-all-nodes", env="SBATCH_WAIT_ALL_NODES"),
    _row("wckey", env="SBATCH_WCKEY"),
    _own("wrap", "runs this command in place of a batch script, as sbatch does", _REQUIRED),
)

LEFT_TO_SBATCH: dict[str, str] = {
    "SBATCH_REQ_SWITCH": "the first half of --switches",
    "SBATCH_WAIT4SWITCH": "the second half of --switches",
    "SLURM_CONF": "the cluster to submit to; also kept for the supervisor",
    "SLURM_DEBUG_FLAGS": "sbatch's own messages",
    "SLURM_EXIT_ERROR": "sbatch's exit code; csx-sbatch has its own",
    "SLURM_STEP_KILLED_MSG_NODE_ID": "messages of steps",
    "SLURM_UMASK": "permissions of the output file",
}
"""Variables that sbatch reads and that set no option, or half of one."""
