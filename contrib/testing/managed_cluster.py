"""A development cluster with the plugin installed as a site installs it."""

import copy
import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from contrib.testing.dev_cluster import AS_ROOT, DevCluster
from contrib.testing.job_processes import job_processes
from contrib.testing.waiting import DEADLINE, LONG_DEADLINE, await_
from slurm_restart.control.hook_script import hook_text
from slurm_restart.control.site import load_site
from slurm_restart.slurm.choose_backend import BACKEND_VARIABLE

EXAMPLES = Path(__file__).parents[1] / "examples"
PREFIX = Path(os.environ["CSX_SLURM_PREFIX"]) if "CSX_SLURM_PREFIX" in os.environ else None
"""Another Slurm than the system's, to run these tests on."""
BACKEND = {name: os.environ[name] for name in (BACKEND_VARIABLE,) if name in os.environ}
"""With CSX_RESTART_BACKEND=pyslurm the reconciler reads jobs and nodes through pyslurm."""
SWEEP_EVERY = 1.0
"""Seconds between two sweeps of the reconciler while a test waits for a job."""
FAST: dict[str, Any] = {"backoff": [1, 1, 1], "outside_backoff": 0, "short_wait": 0}
"""A policy for tests: the waits of the default policy take minutes."""
KNOWN_CAUSE = "torch.distributed.DistNetworkError: The client socket has timed out after 60s."
"""A line of output that explains a failure by a cause that is not tied to a node."""
SHORT_BATCH_START = ("--set", "BatchStartTimeout=15")
"""Options for a cluster that finds a lost batch step 25 s after the job's start."""
SOON = ("--set", "SchedulerParameters=sched_interval=2,bf_interval=2")
"""Options for a cluster that starts a job soon after its begin time, which wakes up the main
scheduler only: by default once a minute."""
SHORT_DELAY = 20
"""Seconds after which Slurm starts a job that it, or a person, has requeued; 120 by default."""
PATIENT_LIMITS = {
    "deadline": 240.0,
    "command_timeout": 60.0,
    "queue_timeout": 120.0,
    "helper_timeout": 300.0,
}
"""The `[hook]` table for tests (seconds): a busy machine takes no decision from the hook."""


class ManagedCluster(DevCluster):
    """A cluster whose EpilogSlurmctld is the plugin's hook.

    Args:
        nodes: how many nodes.
        policy: the `[policy]` table of site.toml.
        hook: the `[hook]` table.
        mode: "act" or "observe".
        recovery: where runs restart that say nothing else; None: the plugin's default. Most tests
            are about the hook, which has nothing to do after a restart in place.
        options: further options of `devcluster up`.
        requeued_after: seconds after which Slurm starts a job that was requeued without a begin
            time; None: Slurm's default, 120.
    """

    def __init__(
        self,
        *,
        nodes: int = 4,
        policy: dict[str, Any] | None = None,
        hook: dict[str, Any] | None = None,
        mode: str = "act",
        recovery: str | None = "requeue",
        options: tuple[str, ...] = (),
        requeued_after: int | None = None,
    ) -> None:
        self.recovery = recovery
        super().__init__(nodes=nodes, prefix=PREFIX, options=options)
        if requeued_after is not None:
            # It waits until all credentials of the last start have expired, before 25.11 at least.
            socket = f"AuthInfo=socket={self.root}/run/munge.sock,cred_expire={requeued_after}"
            self.options = ("--set", socket, *self.options)
        self.site_dir = self.directory / "site"
        self.state_dir = self.site_dir / "state"
        self.export_dir = self.site_dir / "public"
        self.site = self.site_dir / "site.toml"
        self.hook = self.site_dir / "csx-epilog"
        self.slurm_user = pwd.getpwnam("slurm") if AS_ROOT else self.user
        self.site_dir.mkdir()
        for folder, mode_bits in ((self.state_dir, 0o700), (self.export_dir, 0o755)):
            folder.mkdir(mode=mode_bits)
            if AS_ROOT:
                os.chown(folder, self.slurm_user.pw_uid, self.slurm_user.pw_gid)
        self.configure(policy=FAST if policy is None else policy, hook=hook, mode=mode)
        self.options = ("--epilog", str(self.hook), *self.options)

    def configure(
        self,
        *,
        policy: dict[str, Any] | None = None,
        hook: dict[str, Any] | None = None,
        mode: str = "act",
    ) -> None:
        """Write site.toml, which the next hook and the next sweep read.

        Args:
            policy: the `[policy]` table.
            hook: keys of the `[hook]` table that differ from PATIENT_LIMITS.
            mode: "act" or "observe".
        """
        lines = [
            f'mode = "{mode}"',
            f'state_dir = "{self.state_dir}"',
            f'export_dir = "{self.export_dir}"',
            f'slurm_bin = "{self.bin_dir}"',
            f'slurm_conf = "{self.conf}"',
        ]
        tables = {
            "policy": policy or {},
            "hook": PATIENT_LIMITS | (hook or {}),
            "slurm": {"recovery": self.recovery} if self.recovery else {},
        }
        for table, values in tables.items():
            lines += [f"[{table}]", *(f"{key} = {json.dumps(v)}" for key, v in values.items())]
        # A hook or a sweep that runs at this moment must not read half of the file.
        new = self.site.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.site)
        self.install_hook()

    def install_hook(self) -> None:
        """Install the hook with the settings of now."""
        text = hook_text(self.site, load_site(self.site), python=Path(sys.executable))
        new = self.hook.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o755)
        new.replace(self.hook)

    def up(self) -> None:
        """Boot, with this interpreter's commands in the users' PATH."""
        super().up()
        self.use_package()
        self.reconcile()  # as the timer does: ends before the first sweep are not judged

    def use_package(self) -> None:
        """Put this interpreter's commands into the users' PATH."""
        self.environment["PATH"] = (
            f"{Path(sys.executable).parent}:{EXAMPLES}:{self.bin_dir}:{SYSTEM}"
        )
        self.environment["CSX_RESTART_SITE"] = str(self.site)

    # --- the example trainer ---------------------------------------------------------------------

    def trainer_does(self, *faults: str) -> None:
        """Let the trainers of the runs submitted from now on do this: see CSX_EXAMPLE_FAIL.

        `wait@STEP…` waits there for `let_go`, `hang@STEP…` for ever.
        """
        waiting = f"wait:{self.work}/go@"
        self.environment["CSX_EXAMPLE_FAIL"] = ";".join(
            fault.replace("wait@", waiting) for fault in faults
        )

    def let_go(self) -> None:
        """Let the trainers go on that wait for it."""
        (self.work / "go").touch()

    # --- the plugin ------------------------------------------------------------------------------

    def reconcile(self) -> dict[str, int]:
        """One sweep of the reconciler, as SlurmUser."""
        done = subprocess.run(
            [*self.csx_restart, "reconcile", "--site", str(self.site), "--json"],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            cwd="/",
            env=BACKEND,
            **self._as_slurm(),
        )
        if done.returncode != 0:
            raise AssertionError(f"csx-restart reconcile: {done.stderr}")
        found: dict[str, int] = json.loads(done.stdout)
        return found

    @property
    def csx_restart(self) -> tuple[str, ...]:
        """csx-restart as SlurmUser runs it, without an environment."""
        return (sys.executable, "-I", "-m", "slurm_restart.cli.restart")

    def _as_slurm(self) -> dict[str, Any]:
        user = self.slurm_user
        if not AS_ROOT:
            return {}
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def journal(self, job_id: int) -> list[dict[str, Any]]:
        """The events of a job's journal."""
        files = sorted(self.state_dir.glob(f"journal/*/{job_id}-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def ends(self, job_id: int) -> list[dict[str, Any]]:
        """The ends on record."""
        return [event for event in self.journal(job_id) if event["event"] == "end"]

    def hook_log(self) -> str:
        """Return the text of the hook's log; empty before the first entry."""
        log = self.state_dir / "csx-epilog.log"
        return log.read_text() if log.exists() else ""

    # --- runs ------------------------------------------------------------------------------------

    def config(self, name: str = "trainer.yaml", **changes: Any) -> Path:
        """A trainer config in the work directory: the example's, with changes by dotted key.

        `command` sets the launch command, None removes a key.
        """
        data = yaml.safe_load((EXAMPLES / "trainer.yaml").read_text())
        for dotted, value in changes.items():
            keys = SHORT.get(dotted, dotted).split(".")
            place = data
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            if value is None:
                place.pop(keys[-1], None)
            else:
                place[keys[-1]] = value
        path = self.work / name
        path.write_text(yaml.safe_dump(data))
        return path

    def in_two_phases(self, config: Path) -> Path:
        """Change a config: the same trainer a second time, in a model directory of its own.

        Returns:
            The model directory of the second phase.
        """
        data = yaml.safe_load(config.read_text())
        second = copy.deepcopy(data["trainer"])
        second["init"]["model_dir"] = "model_dir_2"
        data["trainer"] = [{"trainer": data["trainer"]}, {"trainer": second}]
        config.write_text(yaml.safe_dump(data))
        return self.work / "model_dir_2"

    def csx_sbatch(self, config: Path, *options: str) -> list[int]:
        """Submit with csx-sbatch; the job ids of the phases."""
        out = self.run("csx-sbatch", "--parsable", *options, str(config))
        return [int(line.partition(";")[0]) for line in out.split()]

    def run_dir(self, model_dir: Path | None = None) -> Path:
        """The newest run directory."""
        where = model_dir or self.work / "model_dir"
        return max(where.glob("*_restartable"))

    def summary(self, run_dir: Path | None = None) -> dict[str, Any]:
        """summary.json of a run."""
        text = ((run_dir or self.run_dir()) / "summary.json").read_text()
        found: dict[str, Any] = json.loads(text)
        return found

    def await_step(self, step: int, *, model_dir: Path | None = None) -> None:
        """Wait for the checkpoint of a step."""
        where = model_dir or self.work / "model_dir"
        await_((where / f"checkpoint_{step}.mdl").exists, f"checkpoint of step {step}")

    def await_end(self, job_id: int, *states: str, timeout: float = LONG_DEADLINE) -> str:
        """Wait until a job is in a final state, with a sweep of the reconciler every second.

        Args:
            job_id: the job.
            states: other states to wait for than the final ones.
            timeout: seconds.

        Returns:
            The job's state.

        Raises:
            AssertionError: the job is in none of the states after `timeout` seconds, or has ended
                in a state that nothing restarts.
        """
        final = states or ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        deadline = time.monotonic() + timeout
        sweep_at = 0.0
        while (state := self.state(job_id)) not in final:
            over = time.monotonic() > deadline or state in {"COMPLETED", "CANCELLED"}
            if over:
                raise AssertionError(f"job {job_id} is {state}: {self.hook_log()}")
            if time.monotonic() > sweep_at:
                self.reconcile()
                sweep_at = time.monotonic() + SWEEP_EVERY
            time.sleep(0.05)
        return state

    def warn_of_time_limit(self, job_id: int) -> None:
        """Let a job that runs end in a minute, so that Slurm warns it within half a minute.

        A time limit of that length could be warned of before the job's program is ready for it.
        """
        limit = ("scontrol", "update", f"JobId={job_id}", "EndTime=now+60")
        self.run(*limit, as_root=True)

    def await_requeue_and_lift_limit(self, job_id: int) -> None:
        """Wait until a job that was warned is requeued; its next attempt is not to be warned."""
        await_(lambda: self.job(job_id)["Restarts"] == "1", f"job {job_id} is requeued")
        lifted = ("scontrol", "update", f"JobId={job_id}", "TimeLimit=60")
        self.run(*lifted, as_root=True, check=False)  # it may have ended by now

    def nodes_of(self, job_id: int) -> list[str]:
        """Return the nodes that a job holds or held last, the batch host first; none: pending."""
        ask = ("squeue", "-h", "-a", "-t", "all", "-j", str(job_id), "-o", "%N")
        hostlist = self.run(*ask).strip()
        return self.run("scontrol", "show", "hostnames", hostlist).split() if hostlist else []

    def await_running(self, job_id: int) -> list[str]:
        """Wait until a job is RUNNING, with sweeps of the reconciler; return its nodes."""
        self.await_end(job_id, "RUNNING")
        return self.nodes_of(job_id)

    def excluded(self, job_id: int) -> set[str]:
        """Nodes that the run's journal excludes."""
        return {event["node"] for event in self.journal(job_id) if event["event"] == "exclude"}

    def await_helper(self) -> None:
        """Wait until the hook and its helper have ended for all jobs."""
        pattern = f"(epilog|requeue_helper) import main.* {self.site}|sh {self.hook}$"

        def ended() -> bool:
            # pgrep(1) exits with 1 where no process matches.
            found = subprocess.run(
                ["pgrep", "-f", pattern],
                stdout=subprocess.DEVNULL,
                check=False,
            )
            return found.returncode == 1

        await_(ended, "the end of the hook's helper")

    def lose_batch_step(self, job_id: int) -> None:
        """Kill a job's batch slurmstepd and wait until Slurm has found out and requeued the job.

        The cluster needs a short BatchStartTimeout: SHORT_BATCH_START.
        """
        ends = len(self.ends(job_id))
        host = self.nodes_of(job_id)[0]
        self.fault("kill-stepd", host)

        def found() -> bool:
            # The node registers again, which it otherwise does every few minutes; `scontrol
            # reconfigure` would do on 22.05, but from 24.11 it begins the waiting time anew. The
            # sweep finds an end that the hook left to it, before the next attempt has begun.
            self.fault("kill-slurmd", host)
            self.fault("start-slurmd", host)
            self.reconcile()
            return len(self.ends(job_id)) > ends

        await_(found, f"Slurm finds that the batch step of job {job_id} is gone", interval=5)

    def batch_pid(self, job_id: int) -> int:
        """The process of the batch script: the supervisor, which the script has become."""
        for process in job_processes(self, job_id):
            if "--run-dir" in process.words:
                parent = Path(f"/proc/{process.parent}/cmdline")
                if b"slurmstepd" in parent.read_bytes():
                    return process.pid
        raise AssertionError(f"job {job_id}: no supervisor is running")

    def heal(self) -> None:
        """Mend whatever a test has broken."""
        self.run("scancel", "--user", self.user.pw_name, as_root=True, check=False)
        status = json.loads(self._devcluster("status", "--json", str(self.root)))
        for node in status["nodes"]:
            if (node["slurmd"] or {}).get("state") != "alive":
                self._devcluster("fault", str(self.root), "start-slurmd", node["name"])
        self.mend()

    def job(self, job_id: int) -> dict[str, str]:
        """Fields of `scontrol show job` (none of these tests' texts holds a space)."""
        text = self.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
        return dict(pair.partition("=")[::2] for pair in text.split())


SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
SHORT = {
    "command": "slurm.command",
    "nodes": "trainer.init.backend.cluster_config.num_csx",
    "steps": "trainer.init.loop.max_steps",
    "every": "trainer.init.checkpoint.steps",
    "restarts": "trainer.init.autorestart.max_num_restarts",
    "min_nodes": "trainer.init.autorestart.min_num_csx",
    "model_dir": "trainer.init.model_dir",
}
