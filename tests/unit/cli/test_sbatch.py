import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contrib.testing.json_output import read_json
from contrib.testing.waiting import await_

CONFIG = """\
trainer:
- trainer: &phase
    init:
      model: {name: gpt2}
      model_dir: "it's $(out)"
      checkpoint: {steps: 10}
      autorestart: {max_num_restarts: 3}
    fit: {train_dataloader: {}}
- trainer: *phase
"""
# Notes its arguments and answers as sbatch does; $FAIL is the number of the call that fails.
SBATCH = """\
#!/bin/sh
printf '%s\\n' "$@" "" >> calls
count=$(grep -c '^$' calls)
[ "$count" = "${FAIL:-}" ] && { echo "sbatch: error: ${REASON:-Invalid partition}" >&2; exit 1; }
[ "$count" = "${BLOCK:-}" ] && { touch blocked; exec sleep 60; }
case " $* " in
*" --test-only "*) echo "sbatch: Job 9 to start at noon" >&2 ;;
*) echo "$((count + 100))" ;;
esac
"""
SCONTROL = """\
#!/bin/sh
echo SLURM_VERSION = 22.05.8
echo EpilogSlurmctld = /etc/slurm_restart/csx-epilog
"""
SCANCEL = '#!/bin/sh\necho "$@" >> cancelled\n'


@pytest.fixture
def csx_sbatch(tmp_path):
    """Run csx-sbatch as a program, with programs in place of Slurm's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    texts = {"sbatch": SBATCH, "scontrol": SCONTROL, "scancel": SCANCEL, "squeue": "#!/bin/sh\n"}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    (work / "trainer.yaml").write_text(CONFIG)
    site = tmp_path / "site.toml"
    site.write_text('mode = "act"\n')

    def run(*arguments, env=None, path=f"{programs}:/usr/bin:/bin"):
        return subprocess.run(
            [sys.executable, "-m", "slurm_restart.cli.sbatch", *arguments],
            cwd=work,
            env={"PATH": path, "HOME": str(tmp_path), "CSX_RESTART_SITE": str(site)} | (env or {}),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=300,
            check=False,
        )

    run.work, run.site = work, site
    return run


def names(directory: Path):
    return sorted(path.name for path in directory.iterdir())


def calls(work: Path):
    return [call.split("\n") for call in (work / "calls").read_text().split("\n\n") if call]


def test_a_site_that_observes_promises_nothing(csx_sbatch):
    csx_sbatch.site.write_text('mode = "observe"\n')
    done = csx_sbatch("trainer.yaml")
    assert done.returncode == 0
    assert "warning: this site is in observe mode: it judges how a job ends" in done.stderr
    assert "the cluster's hook requeues the job" not in done.stderr
    assert json.loads(csx_sbatch("--json", "trainer.yaml").stdout)["observes"] is True


def test_it_speaks_as_sbatch_does(csx_sbatch):
    done = csx_sbatch("-p", "csx", "trainer.yaml")
    assert (done.returncode, done.stdout) == (
        0,
        "Submitted batch job 103\nSubmitted batch job 104\n",
    )
    rest = "1 whole node (--exclusive); at most 3 restarts in a row without a new checkpoint"
    assert done.stderr.splitlines() == [
        f"csx-sbatch: phase 1 of 2: {rest}",
        f"csx-sbatch: phase 2 of 2: {rest}",
        "csx-sbatch: the cluster's hook requeues the job",
    ]
    made = calls(csx_sbatch.work)
    assert [call[0] for call in made] == ["--test-only"] * 2 + ["--parsable"] * 2
    assert "--dependency=afterok:103" in made[3]
    runs = names(csx_sbatch.work / "it's $(out)")
    assert len(runs) == 2
    assert [call[-1] for call in made[2:]] == [
        str(csx_sbatch.work / "it's $(out)" / run / "job.sh") for run in runs
    ]


def test_parsable_quiet_and_json(csx_sbatch):
    done = csx_sbatch("--parsable", "-Q", "trainer.yaml")
    assert (done.stdout, done.stderr) == ("103\n104\n", "")
    done = csx_sbatch("--json", "trainer.yaml")
    data = read_json("csx-sbatch", done.stdout)
    assert [phase["job_id"] for phase in data["phases"]] == ["107", "108"]
    assert all(Path(phase["run_dir"]).is_dir() for phase in data["phases"])


def test_quiet_prints_what_was_asked_for_only(csx_sbatch):
    (csx_sbatch.work / "job.sh").write_text("#!/bin/sh\n#SBATCH -Q -n1\ntrue\n")
    for arguments in (["-Q", "trainer.yaml"], ["job.sh"], ["-Q", "--test-only", "trainer.yaml"]):
        done = csx_sbatch(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert csx_sbatch("--parsable", "job.sh").stdout.strip().isdigit()
    data = json.loads(csx_sbatch("--json", "job.sh").stdout)
    assert data["phases"][0]["job_id"].isdigit()
    assert "--quiet" not in (csx_sbatch.work / "calls").read_text()
    done = csx_sbatch("job.sh", env={"FAIL": "13"})
    assert done.returncode == 4
    assert "Invalid partition" in done.stderr


def test_a_dry_run_changes_nothing_and_needs_no_slurm(csx_sbatch):
    done = csx_sbatch("--dry-run", "trainer.yaml", path="/usr/bin:/bin")
    assert done.returncode == 0
    assert done.stdout.count("#!/bin/bash\n") == 2
    assert "warning: it is not known whether this cluster has the hook" in done.stderr
    assert names(csx_sbatch.work) == ["trainer.yaml"]
    data = read_json("csx-sbatch-print", csx_sbatch("--dry-run", "--json", "trainer.yaml").stdout)
    assert len(data["phases"]) == 2
    assert names(csx_sbatch.work) == ["trainer.yaml"]


@pytest.mark.parametrize(
    ("epilog", "itself"), [("(null)", True), ("/etc/slurm_restart/csx-epilog", False)]
)
def test_a_dry_run_and_a_test_show_what_this_cluster_would_get(csx_sbatch, epilog, itself):
    scontrol = f"#!/bin/sh\necho SLURM_VERSION = 22.05.8\necho 'EpilogSlurmctld = {epilog}'\n"
    (csx_sbatch.work.parent / "bin" / "scontrol").write_text(scontrol)
    told = "the job requeues itself after" if itself else "the cluster's hook requeues the job"
    shown = csx_sbatch("--print", "trainer.yaml")
    assert ("self=1;" in shown.stdout, "--settle" in shown.stdout) == (itself, itself)
    assert told in shown.stderr
    for option in ("--print", "--test-only"):
        done = csx_sbatch(option, "--json", "trainer.yaml")
        data = json.loads(done.stdout)
        assert [phase["plan"]["policy"]["self_requeue"] for phase in data["phases"]] == [itself] * 2
        assert any(note.startswith(told) for note in data["notes"])
    given = csx_sbatch("trainer.yaml")
    assert given.returncode == 0
    assert told in given.stderr
    comments = [line for call in calls(csx_sbatch.work) for line in call if "--comment=" in line]
    assert {"self=1;" in comment for comment in comments} == {itself}


def test_a_directory_that_is_no_text(csx_sbatch):
    folder = os.fsencode(csx_sbatch.work) + b"/\xff\x1b"
    os.mkdir(folder)  # noqa: PTH102 - bytes
    done = csx_sbatch("--dry-run", "-D", folder, "trainer.yaml")
    assert done.returncode == 0, done.stderr
    assert os.fsdecode(folder) in done.stdout
    done = csx_sbatch("-D", folder, "trainer.yaml")
    assert done.returncode == 0, done.stderr
    (run, _) = sorted((Path(os.fsdecode(folder)) / "it's $(out)").iterdir())
    assert folder in (run / "job.sh").read_bytes()
    assert json.loads((run / "plan.json").read_text())["work_dir"] == os.fsdecode(folder)


def test_a_test_creates_nothing(csx_sbatch):
    done = csx_sbatch("--test-only", "trainer.yaml")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("sbatch: Job 9 to start at noon") == 2
    assert names(csx_sbatch.work) == ["calls", "trainer.yaml"]
    data = read_json(
        "csx-sbatch-test-only", csx_sbatch("--test-only", "--json", "trainer.yaml").stdout
    )
    assert data["phases"][1]["answer"] == "sbatch: Job 9 to start at noon"
    done = csx_sbatch("--test-only", "trainer.yaml", env={"FAIL": "6"})
    assert done.returncode == 4
    assert "csx-sbatch: error: phase 2: sbatch: " in done.stderr


def test_what_slurm_refuses_creates_nothing(csx_sbatch):
    done = csx_sbatch("trainer.yaml", env={"FAIL": "1"})
    assert (done.returncode, done.stdout) == (4, "")
    assert "csx-sbatch: error: phase 1: sbatch: sbatch: error: Invalid partition" in done.stderr
    assert names(csx_sbatch.work) == ["calls", "trainer.yaml"]


def test_a_second_phase_that_fails_takes_the_first_back(csx_sbatch):
    done = csx_sbatch("trainer.yaml", env={"FAIL": "4"})
    assert (done.returncode, done.stdout) == (4, "")
    assert names(csx_sbatch.work) == ["calls", "cancelled", "trainer.yaml"]
    assert "103" in (csx_sbatch.work / "cancelled").read_text().split()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_takes_half_a_submission_back(csx_sbatch, number, code):
    work = csx_sbatch.work
    environment = {"PATH": f"{work.parent}/bin:/usr/bin:/bin", "BLOCK": "4", "HOME": "/nonexistent"}
    with subprocess.Popen(
        [sys.executable, "-m", "slurm_restart.cli.sbatch", "trainer.yaml"],
        cwd=work,
        env=environment | {"CSX_RESTART_SITE": "/nonexistent"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ignored in a background job of a shell, or below nohup; csx-sbatch leaves it so.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - no threads
    ) as process:
        await_((work / "blocked").exists, "the second phase's sbatch")
        process.send_signal(number)
        out, errors = process.communicate(timeout=300)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in errors
    assert names(work) == ["blocked", "calls", "cancelled", "trainer.yaml"]
    assert "103" in (work / "cancelled").read_text().split()


def test_a_job_that_only_waits_is_submitted(csx_sbatch):
    reason = "allocation failure: Requested node configuration is not available"
    done = csx_sbatch("trainer.yaml", env={"FAIL": "1", "REASON": reason})
    assert done.returncode == 0
    assert "csx-sbatch: warning: cannot start with today's nodes: phase 1: " in done.stderr


def test_help_version_and_errors(csx_sbatch):
    for option in ("--help", "-h", "--usage"):
        done = csx_sbatch(option)
        assert done.returncode == 0
        assert done.stdout.startswith("Usage: csx-sbatch [options] JOB.sh [arguments]")
    assert csx_sbatch("-V").stdout.startswith("csx-sbatch ")
    done = csx_sbatch()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("csx-sbatch: error: expected a batch script (its first two")
    (csx_sbatch.work / "trainer.yaml").write_text(CONFIG.replace("num_restarts: 3", "restarts: 3"))
    done = csx_sbatch("trainer.yaml")
    assert done.returncode == 3
    assert "trainer.yaml:7: trainer[0].trainer.init.autorestart.max_restarts: " in done.stderr
    assert "Traceback" not in done.stderr
    done = csx_sbatch("trainer.yaml", path="/nonexistent")
    assert done.returncode == 3


def test_without_slurm_it_says_so(csx_sbatch, tmp_path):
    (tmp_path / "empty").mkdir()
    done = csx_sbatch("trainer.yaml", path=str(tmp_path / "empty"))
    assert done.returncode == 4
    assert done.stderr.endswith("csx-sbatch: error: sbatch: not found in PATH\n")


def test_user_settings_are_read(csx_sbatch, tmp_path):
    user = tmp_path / ".config" / "slurm_restart"
    user.mkdir(parents=True)
    (user / "user.toml").write_text('[slurm]\nsite_options = ["container-image="]\n'
                                    '[slurm.sbatch]\naccount = "me"\n')  # fmt: skip
    done = csx_sbatch("--dry-run", "--container-image=x", "trainer.yaml")
    assert done.returncode == 0, done.stderr
    assert "sbatch --account=me --container-image=x " in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_the_output_is_no_traceback(csx_sbatch):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "slurm_restart.cli.sbatch", "--dry-run", "trainer.yaml"],
            cwd=csx_sbatch.work,
            env=os.environ | {"CSX_RESTART_SITE": "/nonexistent"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
