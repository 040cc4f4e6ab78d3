"""How fast logs are scanned, beside `grep -E -f` and ripgrep with the same texts, in one run."""

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from slurm_restart.logs.patterns import literals
from slurm_restart.logs.rules import load_rules

MIB = 1 << 20
FAILURE = """\
Traceback (most recent call last):
  File "train.py", line 30, in <module>
    main()
RuntimeError: NCCL error: unhandled system error, ncclSystemError
srun: error: csx3: task 3: Exited with exit code 1
"""
SCAN = r"""
import re, resource, sys
from pathlib import Path
from slurm_restart.logs.log_files import scan_file, scan_files, scan_stream
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import make_matcher
how, finder, *paths = sys.argv[1:]
rules = load_rules(site=None)
if len(paths) > 1:
    found = scan_files([Path(path) for path in paths], rules)
elif how == "whole":
    with open(paths[0], "rb") as file:
        found = [scan_stream(file, make_matcher(rules, finder or None), name="log")]
else:
    found = [scan_file(Path(paths[0]), make_matcher(rules, finder or None))]
assert all(any(one.rule == "nccl.system" for one in scan.findings) for scan in found), found[:1]
own = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


def lines(rng: random.Random) -> Iterator[str]:
    """Ordinary output of a training, of many forms."""
    step = 0
    while True:
        step += 1
        loss = f"{rng.uniform(1, 9):.4f}"
        yield (
            f"2026-01-05 10:{step % 60:02}:{step % 59:02},{step % 997:03} INFO:   | Train "
            f"Device=CSX, Step={step}, Loss={loss}, Rate={rng.uniform(100, 900):.2f} samples/sec\n"
        )
        yield f"[rank{step % 64}]: step {step} | lm loss: {loss}E+00 | grad norm: 1.2 | nan: 0\n"
        yield f"{{'loss': {loss}, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 0.{step}}}\n"
        if step % 5 == 0:
            yield f"\rEpoch 3:  45%|####      | {step}/9000 [00:12<00:30, 12.33it/s, loss={loss}]"
        if step % 50 == 0:
            yield f"\x1b[32mINFO\x1b[0m saved checkpoint checkpoint_{step}.mdl in 3.2 s\n"
        if step % 1000 == 0:
            yield f"h{step % 9}:42:50 [1] NCCL INFO Channel 00 : 1[1] -> 0[0] via P2P/IPC\n"


def make_log(path: Path, size: int) -> None:
    """A log of about so many bytes that ends with a failure."""
    rng = random.Random(1)
    source = lines(rng)
    part = "".join(next(source) for _ in range(200_000)).encode()
    with path.open("wb") as file:
        while size > 0:
            file.write(part[:size])
            size -= len(part)
        file.write(f"\n{FAILURE}".encode())


def scan(how: str, finder: str, *paths: Path) -> int:
    """Scan in a process of its own; its peak memory in bytes.

    Args:
        how: `whole`, or `end`: from the end as far as needed.
        finder: see `make_matcher`; empty: the fastest.
        paths: the logs.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCAN, how, finder, *map(str, paths)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) * 1024


def searchers(texts: Path, log: Path) -> dict[str, Callable[[], object]]:
    """What is compared, by name."""
    c_locale = {**os.environ, "LC_ALL": "C"}

    def run(*argv: str) -> Callable[[], object]:
        return lambda: subprocess.run(
            [*argv, str(log)], env=c_locale, stdout=subprocess.PIPE, check=True
        )

    found: dict[str, Callable[[], object]] = {
        "whole log, hyperscan": lambda: scan("whole", "hyperscan", log),
        "whole log, python": lambda: scan("whole", "python", log),
        "from the end": lambda: scan("end", "", log),
        # Counting, to a pipe: grep stops at the first match where nobody reads what it prints.
        "grep -E -f": run("grep", "-a", "-c", "-E", "-f", str(texts)),
    }
    if shutil.which("rg"):
        found["ripgrep -f"] = run("rg", "-a", "-c", "-f", str(texts))
    return found


def write_patterns(path: Path) -> int:
    """The texts that the scanner looks for, for the others, as regular expressions; how many."""
    special = str.maketrans({char: f"\\{char}" for char in r"\.[]{}()*+?^$|"})
    texts = sorted({text for rule in load_rules(site=None) for text in literals(rule.pattern)})
    path.write_text("".join(f"{text.translate(special)}\n" for text in texts))
    return len(texts)


def bench(size: int, turns: int) -> dict[str, object]:
    """MB/s of each, and the scanner's peak memory for logs of several sizes."""
    with TemporaryDirectory() as name:
        top = Path(name)
        log = top / "train.log"
        make_log(log, size)
        count = write_patterns(top / "texts")
        return {
            "bytes": log.stat().st_size,
            "texts": count,
            **speeds(searchers(top / "texts", log), log.stat().st_size, turns),
            "peak_mib": memory(top, log),
        }


def speeds(found: dict[str, Callable[[], object]], size: int, turns: int) -> dict[str, object]:
    """Median MB/s of each, measured in turns, and how many times as fast as grep it is."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(turns):
        for name, search in found.items():
            start = time.monotonic()
            search()
            taken[name].append(time.monotonic() - start)
    rates = {name: size / 1e6 / statistics.median(times) for name, times in taken.items()}
    return {
        "mb_per_s": {name: round(rate) for name, rate in rates.items()},
        "times_grep": {name: round(rate / rates["grep -E -f"], 2) for name, rate in rates.items()},
    }


def memory(top: Path, log: Path) -> dict[str, int]:
    """Peak memory in MiB of scanning logs of several sizes, and 1,000 files at once."""
    small = top / "small.log"
    make_log(small, MIB)
    many = [top / f"{number}.log" for number in range(1000)]
    for path in many:
        make_log_of(path, small)
    huge = top / "huge.log"
    with huge.open("wb") as file:
        # A hole costs no disk, and is read like any other part.
        file.truncate(4096 * MIB)
        file.seek(0, os.SEEK_END)
        file.write(small.read_bytes())
    return {
        "1 MiB": scan("whole", "", small) // MIB,
        f"{log.stat().st_size // MIB} MiB": scan("whole", "", log) // MIB,
        "4097 MiB": scan("whole", "", huge) // MIB,
        "1000 files, each process": scan("end", "", *many) // MIB,
    }


def make_log_of(path: Path, source: Path) -> None:
    """A copy that shares the source's blocks."""
    os.link(source, path)
