"""Read the rules over log lines in a thread, as the file systems that they are on may hang."""

import threading
from pathlib import Path

from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rules import RuleSet, files_of, read_rules
from slurm_restart.logs.scanner import SMALL, LogScanner, make_matcher
from slurm_restart.supervise.events import Events, RulesRead
from slurm_restart.supervise.stall_monitor import StallMonitor


class RulesThread(threading.Thread):
    """Reads the rules and puts `RulesRead` into the queue.

    Args:
        run_rules: the directory of the run's own rules; None: only the package's are read.
        events: receives the scanner.
        stalls: is told of the access.
    """

    def __init__(self, run_rules: Path | None, events: Events, stalls: StallMonitor) -> None:
        super().__init__(name="rules", daemon=True)
        self._run_rules = run_rules
        self._events = events
        self._stalls = stalls

    def run(self) -> None:
        """Read the rules; if they cannot be read, the package's own are used."""
        if self._run_rules is None:
            rules = read_rules(site=None)
        else:
            with self._stalls.access(f"{self._run_rules} and the user's rules"):
                rules = _read(self._run_rules)
        scanner = LogScanner(make_matcher(rules.rules, SMALL))
        self._events.put(RulesRead(scanner, rules.problems))


def _read(run_rules: Path) -> RuleSet:
    try:
        return read_rule_sources(files_of(run_rules))
    except (OSError, RuntimeError) as error:
        # RuntimeError: the user has no home directory.
        rules = read_rules(site=None)
        problem = f"only the package's own are used: {error}"
        return RuleSet(rules=rules.rules, problems=(problem, *rules.problems))
