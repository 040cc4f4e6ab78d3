"""Job scripts: what the shell says, and noise before an end that nothing explains."""

from tests.data.generator.case import Case

STEPS = 'for step in 1 2 3 4; do echo "step $step done"; done\n'


def noise(name: str, command: str, code: int = 1) -> Case:
    """A complaint that stops nothing, and later an exit status without a reason."""
    script = f"{command}\necho starting the solver\n{STEPS}exit {code}"
    return Case(f"noise.{name}", "unknown", script, None)


NOISE = (
    noise("rm", "rm restart.old checkpoints/step_1.tmp"),
    noise("mkdir", "mkdir checkpoints", 2),
    noise("cp", "cp inputs.bak/params.nml .", 3),
    noise("mv", "mv restart.new restart.cur"),
    noise("ls", "ls checkpoints/*.pt", 4),
    noise("cat", "cat job.started", 7),
    noise("kill", "kill 999999", 1),
    noise("ln", "ln -s run.log checkpoints; ln -s run.log checkpoints", 1),
    noise("grep", "grep -c step old.log", 5),
    noise("find", "find scratch -name '*.tmp' -delete", 1),
    noise("rmdir", "rmdir checkpoints; rmdir checkpoints", 9),
    noise("tput", "unset TERM; tput bold", 1),
    noise("chmod", "chmod 700 private", 1),
    noise("tail", "tail -n 3 old.log", 11),
    noise("which", "nvidia-smi -L || true", 1),
    noise("module", "module load cuda || true", 6),
    noise("ulimit", "ulimit -l unlimited; ulimit -Hn 99999999; ulimit -s unlimited", 1),
    noise("python_cleanup", "python -c 'import shutil; shutil.rmtree(\"old\")' || true", 12),
)

DONE = (
    Case("noise.rm_done", "completed", f"rm restart.old\n{STEPS}echo finished", None),
    Case("noise.error_word_done", "completed", f"echo 'max error: 0.003'\n{STEPS}", None),
    Case("noise.ls_done", "completed", f"ls *.pt\n{STEPS}echo 'saved final model'", None),
)

SHELL = (
    Case(
        "shell.unbound", "config", "set -u\ncd $SCRATCH_DIR/run", "unbound variable", also=("code",)
    ),
    Case(
        "shell.syntax", "code", "if [ -d run ]; then\n  echo x\n", "syntax error", also=("config",)
    ),
    Case("shell.not_found", "config", "python_gpu train.py", "command not found", also=("code",)),
    Case(
        "shell.denied",
        "auth",
        "touch run.sh; chmod 644 run.sh\n./run.sh",
        "Permission denied",
        also=("config",),
    ),
    Case(
        "shell.cd",
        "config",
        "set -e\ncd runs/exp12\npython program.py shape",
        "No such file or directory",
    ),
    Case("shell.source", "config", "set -e\nsource env/bin/activate", "No such file or directory"),
    Case(
        "shell.interpreter",
        "config",
        "printf '#!/opt/py/bin/python\\n' >t.py; chmod 755 t.py\n./t.py",
        "bad interpreter|cannot execute|No such file",
    ),
    Case(
        "shell.format",
        "config",
        "printf '\\177ELF\\2\\1\\1broken' >a.out; chmod 755 a.out\n./a.out",
        "Exec format error|cannot execute",
    ),
    Case(
        "shell.crlf",
        "config",
        "printf '#!/bin/bash\\r\\necho x\\r\\n' >t.sh; chmod 755 t.sh\n./t.sh",
        "interpreter|No such file|required file",
    ),
    Case("shell.timeout", "unknown", f"{STEPS}timeout 1 sleep 30", None, also=("hang", "timeout")),
    Case(
        "shell.expanded",
        "config",
        "set -e\n: ${DATA_DIR:?set it to the folder of the corpus}",
        "DATA_DIR: set it",
        also=("code",),
    ),
    Case("shell.no_job_file", "config", "bash jobs/train.sh", "No such file or directory"),
    Case(
        "shell.division",
        "code",
        "steps=0; set -e\necho $((100 / steps))",
        "division by 0",
        also=("config", "unknown"),
    ),
    Case(
        "shell.full",
        "storage.full",
        f"{STEPS}cat /dev/zero | head -c 9000000 >checkpoints/x || exit",
        "No space left",
        place="small_disk",
    ),
    Case("shell.pipe", "unknown", f"set -o pipefail\n{STEPS}(exit 9) | cat", None),
    Case(
        "shell.limit_cpu",
        "unknown",
        f"{STEPS}ulimit -t 1; python -c 'while True: pass'",
        None,
        also=("software.crash", "timeout", "oom_host"),
    ),
    Case(
        "shell.memory_limit",
        "oom_host",
        "ulimit -v 90000\npython -c 'x = bytearray(1 << 30)'",
        "^MemoryError",
    ),
)

CASES = (*NOISE, *DONE, *SHELL)
