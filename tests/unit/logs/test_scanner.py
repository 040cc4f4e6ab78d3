import itertools
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role
from slurm_restart.core.root_cause import find_root_cause, sort_findings
from slurm_restart.logs.finding_collector import (
    KEEP_FIRST,
    KEEP_LAST,
    MAX_LABELS,
    MAX_TRACEBACK,
    START,
)
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import MAX_LINE, LogScanner, make_matcher

RULES = load_rules(site=None)
MATCHERS = [make_matcher(RULES, name) for name in ("python", "hyperscan")]


def scan(
    *chunks: bytes, rules: tuple[LogRule, ...] | None = None, matcher: RuleMatcher = MATCHERS[0]
) -> tuple[Finding, ...]:
    scanner = LogScanner(matcher if rules is None else make_matcher(rules))
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner.findings()


def found(*chunks: bytes) -> list[tuple[str, int]]:
    return [(finding.rule, finding.line) for finding in scan(*chunks)]


def trace(exception: str, source: str = "run()", label: str = "") -> bytes:
    lines = (
        "Traceback (most recent call last):",
        '  File "x.py", line 3',
        f"    {source}",
        exception,
    )
    return "".join(f"{label}{line}\n" for line in lines).encode()


def test_lines_are_counted_from_one() -> None:
    assert found(b"step 1\nstep 2\nMemoryError\n") == [("host.out_of_memory", 3)]


def test_the_unfinished_last_line_counts_and_is_read_again_when_it_is_finished() -> None:
    scanner = LogScanner(MATCHERS[0])
    scanner.feed(b"step 1\nOSError: [Errno 28] No space left")
    assert [f.text for f in scanner.findings()] == ["OSError: [Errno 28] No space left"]
    scanner.feed(b" on device\n")
    assert [f.text for f in scanner.findings()] == ["OSError: [Errno 28] No space left on device"]


def test_carriage_returns_end_a_line_but_only_line_feeds_count() -> None:
    assert found(b"1%\r2%\r3%\r\nMemoryError\r\n") == [("host.out_of_memory", 2)]
    assert found(b"1%\rMemoryError\r2%\n") == [("host.out_of_memory", 1)]


def test_colours_nuls_and_wide_encodings_hide_nothing() -> None:
    assert found(b"\x1b[31mMem\x1b[0moryError\n") == [("host.out_of_memory", 1)]
    assert found(b"\0" * 100_000 + b"MemoryError\n") == [("host.out_of_memory", 1)]
    assert found("step 1\nMemoryError\n".encode("utf-16")) == [("host.out_of_memory", 2)]
    assert found("Zählung\nMemoryError\n".encode("latin-1")) == [("host.out_of_memory", 2)]


def test_of_a_very_long_line_the_beginning_is_read() -> None:
    start, rest = b"CUDA out of memory. ", b"x" * (10 * MAX_LINE)
    assert found(start, rest, b" MemoryError\nMemoryError\n") == [
        ("gpu.out_of_memory", 1),
        ("host.out_of_memory", 2),
    ]
    assert found(rest + b" CUDA out of memory\n") == []


def test_of_a_traceback_only_the_exception_counts() -> None:
    log = trace("RuntimeError: stop", source='raise OSError("CUDA out of memory")')
    assert [finding.text for finding in scan(log)] == ["RuntimeError: stop"]


def test_interleaved_ranks_are_separated() -> None:
    zero = trace("TypeError: no", label="[rank0]: ").splitlines(keepends=True)
    one = trace("MemoryError", source="CUDA out of memory", label="[rank1]: ").splitlines(
        keepends=True
    )
    mixed = b"".join(line for pair in zip(zero, one, strict=True) for line in pair)
    assert found(mixed) == [("python.program", 7), ("host.out_of_memory", 8)]


DURING = b"\nDuring handling of the above exception, another exception occurred:\n\n"
DIRECT = b"\nThe above exception was the direct cause of the following exception:\n\n"


def test_of_a_chain_of_exceptions_the_first_is_the_cause() -> None:
    for chain in (DURING, DIRECT):
        log = trace("OSError: [Errno 28] No space left on device") + chain + trace("TypeError: no")
        roles = [(finding.rule, finding.role) for finding in scan(log)]
        assert roles == [("storage.full", Role.ROOT), ("python.program", Role.CASCADE)]


def test_a_chain_that_begins_with_nothing_known_is_explained_by_what_follows() -> None:
    log = trace("RuntimeError: stop") + DURING + trace("MemoryError")
    chosen = find_root_cause(sort_findings(scan(log)))
    assert chosen is not None
    assert chosen.rule == "host.out_of_memory"


def test_in_a_chain_a_certain_exception_outranks_one_that_was_expected() -> None:
    log = (
        trace("FileNotFoundError: no cache") + DURING + trace("NameError: name 'x' is not defined")
    )
    roles = [(finding.rule, finding.role) for finding in scan(log)]
    assert roles == [("config.not_found", Role.CASCADE), ("python.name", Role.ROOT)]


def test_source_lines_of_a_traceback_without_its_head_are_no_findings() -> None:
    assert scan(b'  File "x.py", line 3\n    raise OSError("No space left on device")\n') == ()


def test_what_fails_before_much_progress_is_marked() -> None:
    steps = b"".join(b"step %d loss 2.%d\n" % (n, n) for n in range(START + 9))
    [early] = scan(trace("KeyError: 'x'"))
    [late] = scan(steps + trace("KeyError: 'x'"))
    assert (early.as_starting, late.as_starting) == (Confidence.LIKELY, None)


def test_two_tracebacks_that_are_no_chain_are_both_candidates() -> None:
    log = trace("TypeError: no") + trace("MemoryError")
    assert [finding.role for finding in scan(log)] == [Role.ROOT, Role.ROOT]


def test_an_exception_that_python_ignores_is_teardown() -> None:
    for said in (
        b"Exception ignored in: <function A.__del__ at 0x7f>\n",
        b"--- Logging error ---\n",
    ):
        roles = [finding.role for finding in scan(said + trace("TypeError: no"))]
        assert roles == [Role.TEARDOWN]
        later = said + b"step 7\n" * 10 + trace("TypeError: no")
        assert [finding.role for finding in scan(later)] == [Role.ROOT]


def test_a_traceback_in_a_frame_is_one() -> None:
    log = (
        "╭──── Traceback (most recent call last) ────╮\n"
        "│ /app/x.py:3 in <module>                    │\n"
        "│ ❱ 3   raise OSError('CUDA out of memory')  │\n"
        "╰────────────────────────────────────────────╯\n"
        "MemoryError\n"
    )
    assert [finding.rule for finding in scan(log.encode())] == ["host.out_of_memory"]


def test_a_traceback_that_never_ends_does_not_swallow_the_log() -> None:
    log = trace("", label="[rank7]: ") + b"  deeper\n" * (MAX_TRACEBACK + 10) + b"MemoryError\n"
    assert [finding.rule for finding in scan(log)] == ["host.out_of_memory"]


def test_the_first_and_the_last_findings_of_a_rule_are_kept() -> None:
    lines = [line for _, line in found(b"MemoryError\n" * 10_000)]
    assert lines[:KEEP_FIRST] == list(range(1, KEEP_FIRST + 1))
    assert lines[KEEP_FIRST:] == list(range(10_001 - KEEP_LAST, 10_001))


def test_labels_are_bounded() -> None:
    scanner = LogScanner(MATCHERS[0])
    for rank in range(MAX_LABELS + 50):
        scanner.feed(trace("MemoryError", label=f"{rank}: "))
    assert len(scanner._blocks.reader.tracebacks) <= MAX_LABELS


def test_of_a_chain_without_its_tracebacks_the_first_exception_is_the_cause() -> None:
    log = b"OSError: [Errno 28] No space left on device\n" + DIRECT + b"TypeError: no\n"
    roles = [(finding.rule, finding.role) for finding in scan(trace("MemoryError") + log)]
    assert roles[-1] == ("python.program", Role.CASCADE)


def rule_of(role: Role, pattern: str, category: Category = Category.STORAGE_IO) -> LogRule:
    return LogRule(id=f"a.{role.value}", category=category, role=role, pattern=pattern, meaning="…")


def test_what_works_again_leaves_no_more_than_a_guess() -> None:
    rules = (rule_of(Role.RECOVERED, "disk is back"), rule_of(Role.ROOT, "disk is gone"))
    lost = scan(b"disk is gone\ndisk is back\ndisk is gone\n", rules=rules)
    assert [one.confidence for one in lost if one.role is Role.ROOT] == [
        Confidence.GUESS,
        Confidence.LIKELY,
    ]


def test_a_new_attempt_drops_earlier_findings() -> None:
    rules = (rule_of(Role.START, "attempt begins"), rule_of(Role.ROOT, "disk is gone"))
    log = b"disk is gone\nattempt begins\nstep 1\n"
    assert [one.role for one in scan(log, rules=rules)] == [Role.START]
    again = scan(log + b"disk is gone\n", rules=rules)
    assert [(one.role, one.line) for one in again] == [(Role.START, 2), (Role.ROOT, 4)]


def test_a_finding_has_its_rank_and_its_time() -> None:
    [one] = scan(b"[rank3]: 2026-01-02 00:00:01 ERROR MemoryError\n")
    assert (one.rank, one.at) == ("[rank3]:", 24 * 3600 + 1)


def test_progress_after_a_finding_is_reported() -> None:
    steps = b"".join(b"step %d loss 2.%d\n" % (n, n) for n in range(5000))
    survived = scan(steps + trace("ImportError: no flux") + steps)
    assert [finding.went_on for finding in survived] == [5000]
    died = scan(steps + trace("ImportError: no flux") + b"shutting down\n" * 5000)
    assert [finding.went_on for finding in died] == [0]


def test_a_node_that_slurm_names_is_captured_and_the_reporter_is_not() -> None:
    findings = scan(
        b"srun: error: Node failure on csx3\n"
        b"slurmstepd: error: *** JOB 7 ON csx1 CANCELLED AT 2026-01-05T10:00:00 DUE TO NODE FAILURE"
        b", SEE SLURMCTLD LOG FOR DETAILS ***\nsrun: error: csx2: task 2: Killed\n"
    )
    assert [(f.category, f.nodes) for f in findings] == [
        (Category.HARDWARE_NODE, ("csx3",)),
        (Category.HARDWARE_NODE, ()),
        (Category.UNKNOWN, ()),
    ]


PEAK = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
FOOTPRINT = """
import sys
from slurm_restart.logs import scanner
from slurm_restart.logs.rules import load_rules
logs = scanner.LogScanner(scanner.make_matcher(load_rules(site=None), scanner.SMALL))
for step in range(20_000):
    logs.feed(b"%d: MemoryError: %s\\n" % (step, b"x" * (step % 3000)))
assert logs.findings()
assert "yaml" not in sys.modules
"""
MAX_GROWTH = 18_000
"""KiB that rules and scanner may add to an empty interpreter: 11,600 on Python 3.11."""


def peak_kib(program: str) -> int:
    # -P: the package that is installed, not the checkout, has compiled rules.
    done = subprocess.run(
        [sys.executable, "-P", "-c", program + PEAK],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return int(done.stdout)


def test_rules_and_scanner_leave_memory_for_the_rest_of_the_supervisor() -> None:
    assert peak_kib(FOOTPRINT) - peak_kib("") < MAX_GROWTH


EXAMPLES = sorted({line for rule in RULES for line in rule.positive + rule.negative})
pieces = st.one_of(
    st.sampled_from(EXAMPLES).map(str.encode),
    st.sampled_from(EXAMPLES).map(lambda line: b"[rank1]: " + line.encode()),
    st.sampled_from(["MemoryError", "RuntimeError: x"]).map(trace),
    st.sampled_from([DURING, DIRECT, b"step 1 loss 2.3", b"\x1b[1m", b"caf\xe9", b"\r", b"\0"]),
    st.binary(max_size=40),
)
logs = st.lists(st.tuples(pieces, st.sampled_from([b"\n", b"\r\n", b"\r", b""]))).map(
    lambda parts: b"".join(piece + end for piece, end in parts)
)


@given(logs, st.lists(st.integers(0, 5000), max_size=8))
@settings(max_examples=150)
def test_chunk_boundaries_do_not_matter(log: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(log), *(cut % (len(log) + 1) for cut in cuts)})
    chunks = [log[a:b] for a, b in itertools.pairwise(places)]
    assert scan(*chunks) == scan(log)


@given(st.integers(1, 50_000), st.integers(0, 40_000))
@settings(max_examples=20)
def test_chunk_boundaries_do_not_matter_in_long_logs(size: int, long: int) -> None:
    log = (b"step 12\n" * 3000 + b"y" * long + b" MemoryError\x1b[1m\n") * 2 + trace("TypeError: x")
    assert scan(*(log[i : i + size] for i in range(0, len(log), size))) == scan(log)


@given(logs)
@settings(max_examples=150)
def test_every_finder_finds_the_same(log: bytes) -> None:
    for text in (log, log * 9):
        found = [scan(text, matcher=matcher) for matcher in MATCHERS]
        assert found.count(found[0]) == len(found)


@given(logs, st.integers(0, 5000))
@settings(max_examples=150)
def test_a_log_that_breaks_off_anywhere_can_be_read(log: bytes, cut: int) -> None:
    scan(log[: cut % (len(log) + 1)])


@given(logs)
@settings(max_examples=100)
def test_asking_under_way_changes_nothing(log: bytes) -> None:
    scanner = LogScanner(MATCHERS[0])
    for byte in range(0, len(log), 50):
        scanner.feed(log[byte : byte + 50])
        scanner.findings()
    assert scanner.findings() == scan(log)


@given(logs, st.integers(1, 400))
@settings(max_examples=100)
def test_ordinary_output_before_it_only_moves_a_finding(log: bytes, steps: int) -> None:
    before = b"".join(b"step %d of 9000, loss 2.%d\n" % (n, n) for n in range(steps))
    moved = [(f.rule, f.role, f.line - steps, f.text) for f in scan(before + log)]
    assert moved == [(f.rule, f.role, f.line, f.text) for f in scan(log)]


@given(st.binary(max_size=2000))
@settings(max_examples=100)
def test_any_bytes_can_be_read(log: bytes) -> None:
    for finding in scan(log + b"\nMemoryError: " + log):
        assert "\n" not in finding.text
        assert len(finding.text) <= 1000
