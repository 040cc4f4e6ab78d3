"""What contrib/crash-points does: every crash point of the chosen scenarios and modes, on Slurm."""

import argparse
import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from contrib.crash_points_parts.points import Mode, Point, points_of
from contrib.crash_points_parts.scenarios import SCENARIOS, Scenario
from contrib.crash_points_parts.supervisor_scenarios import FOLLOWED, Followed
from contrib.crash_points_parts.walk import Result, count_calls, walk
from contrib.testing.crash_points import When
from contrib.testing.dev_cluster import missing


class Report:
    """Prints results as they come, and keeps them.

    Args:
        total: how many points there are.
        keep: a directory for the details of violations.
    """

    def __init__(self, total: int, keep: Path | None) -> None:
        self.results: list[Result] = []
        self._total, self._keep = total, keep
        self._begun = time.monotonic()

    def add(self, result: Result) -> None:
        """Print a result."""
        self.results.append(result)
        seconds = time.monotonic() - self._begun
        print(f"{seconds:5.0f} s {len(self.results)}/{self._total} {result}", flush=True)
        if result.violations and self._keep:
            self._keep.mkdir(parents=True, exist_ok=True)
            name = re.sub(r"\W+", "-", str(result.point))
            (self._keep / f"{name}.txt").write_text(f"{result}\n{result.details}\n")


def print_summary(results: Sequence[Result]) -> None:
    """Print a table by mode and scenario, and the totals."""
    table = Counter((result.point.mode.value, result.point.scenario) for result in results)
    wrong = Counter(
        (result.point.mode.value, result.point.scenario) for result in results if result.violations
    )
    print(f"\n{'mode':<18}{'scenario':<12}{'points':>8}{'violations':>12}")
    for (mode, scenario), count in table.items():
        print(f"{mode:<18}{scenario:<12}{count:>8}{wrong[mode, scenario]:>12}")
    not_reached = sum(bool(result.point.call) and not result.reached for result in results)
    lost = sum(result.lost for result in results)
    remarks = f" ({not_reached} not reached, {lost} jobs lost by slurmctld)"
    violations = sum(bool(result.violations) for result in results)
    print(f"{len(results)} points, {violations} violations{remarks if not_reached or lost else ''}")


def scenarios_of(mode: Mode) -> list[str]:
    """Return the names of the scenarios in which a mode interrupts something."""
    return list(FOLLOWED if mode.in_job else SCENARIOS)


def parse_point(text: str) -> Point:
    """Return the point of `MODE:SCENARIO:CALL:WHEN`.

    Raises:
        argparse.ArgumentTypeError: the text has another form.
    """
    try:
        mode, scenario, call, when = text.split(":")
        point = Point(scenario=scenario, mode=Mode(mode), call=call, when=When(when))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected MODE:SCENARIO:CALL:WHEN, for example hook:fail:3:after"
        ) from None
    if scenario not in (known := scenarios_of(point.mode)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected one of {', '.join(known)}")
    return point


def _list(scenarios: Mapping[str, Scenario | Followed]) -> str:
    return "\n".join(f"  {name:<10}{each.meaning}" for name, each in scenarios.items())


def arguments() -> argparse.Namespace:
    """The command line."""
    scripted, followed = _list(SCENARIOS), _list(FOLLOWED)
    parser = argparse.ArgumentParser(
        prog="contrib/crash-points",
        description=__doc__,
        epilog=f"scenarios:\n{scripted}\n\nscenarios of supervisor, supervisor-alone and reaper:\n"
        f"{followed}\n\nExit codes: 0 none; 1 violations; 3 no Slurm here.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    modes = [mode.value for mode in Mode]
    help_ = "only this scenario; repeatable"
    add("--scenario", action="append", choices=[*SCENARIOS, *FOLLOWED], help=help_)
    help_ = "who is interrupted and how; repeatable (default: hook, helper, reconciler, slurmctld)"
    add("--mode", action="append", choices=modes, help=help_)
    add("--point", action="append", type=parse_point, help="MODE:SCENARIO:CALL:WHEN; repeatable")
    add("--jobs", type=int, default=6, metavar="N", help="points at a time (default 6)")
    sides = [side.value for side in When]
    add("--when", action="append", choices=sides, help="only before, or only after, a call")
    add("--most", type=int, default=16, metavar="K", help="no call beyond the Kth (default 16)")
    add("--keep", type=Path, metavar="DIR", help="where logs and journals of violations are put")
    add("--clean", action="store_true", help="interrupt nothing: only run the scenarios")
    add("--json", type=Path, metavar="FILE", help="write the results as JSON")
    return parser.parse_args()


def chosen_points(args: argparse.Namespace) -> tuple[list[Point], list[Result]]:
    """Return the points to try, and the results of the runs that counted the calls."""
    if args.point:
        return list(args.point), []
    default = [Mode.HOOK, Mode.HELPER, Mode.RECONCILER, Mode.SLURMCTLD]
    modes = [Mode(name) for name in args.mode] if args.mode else default
    sides = [When(name) for name in args.when] if args.when else list(When)
    points: list[Point] = []
    counting: list[Result] = []
    for mode in modes:
        known = scenarios_of(mode)
        if not (scenarios := [name for name in args.scenario or known if name in known]):
            continue
        calls, results = count_calls(scenarios, mode, args.jobs)
        counting += results
        counts = ", ".join(f"{name} {count}" for name, count in calls.items())
        print(f"{mode.value}: calls without an interruption: {counts}", flush=True)
        points += [] if args.clean else points_of(scenarios, mode, calls, args.most, sides)
    return points, counting


def as_json(results: Sequence[Result]) -> str:
    """Return the results for programs."""
    rows = [
        {
            "mode": result.point.mode.value,
            "scenario": result.point.scenario,
            "call": result.point.call,
            "when": result.point.when.value,
            "command": result.call,
            "reached": result.reached,
            "lost": result.lost,
            "seconds": round(result.seconds, 1),
            "violations": list(result.violations),
        }
        for result in results
    ]
    return json.dumps(rows, indent=2) + "\n"


def main() -> int:
    """Count the calls, try the points, print the summary; 0 if nothing is violated."""
    args = arguments()
    if reason := missing():
        print(f"crash-points: {reason}", file=sys.stderr)
        return 3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    points, counting = chosen_points(args)
    report = Report(len(points) + len(counting), args.keep)
    for result in counting:
        report.add(result)
    walk(points, args.jobs, report.add)
    print_summary(report.results)
    if args.json:
        args.json.write_text(as_json(report.results))
    return 1 if any(result.violations for result in report.results) else 0


if __name__ == "__main__":
    sys.exit(main())
