"""Set up the import path, the cache directory and Hypothesis for all tests.

CSX_HYPOTHESIS_PROFILE chooses one of the profiles `default`, `ci` and `thorough`. Without it, `ci`
is used where CI is set, as all continuous integration services do, and otherwise `default`.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# contrib is not installed. Last, so that the package that is tested is the installed one.
sys.path.append(str(Path(__file__).parents[1]))

# A busy machine must fail no test, so that there is no limit on the time of an example.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
# A change fails by its own fault, and not because this run found a new example: the search for
# new examples is left to the runs of developers and to `thorough`.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
# For the night; a test that sets max_examples itself keeps its number.
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(
    os.environ.get("CSX_HYPOTHESIS_PROFILE") or ("ci" if "CI" in os.environ else "default")
)


def pytest_configure(config: pytest.Config) -> None:
    """Give the whole run an empty cache directory, so that none of the user's caches is changed.

    This early, because modules of tests read rules while they are imported.
    """
    # pytest-xdist sets it, and commands would fit their lines to it.
    os.environ.pop("COLUMNS", None)
    if hasattr(config, "workerinput"):
        return  # A worker of pytest-xdist inherits the directory.
    cache = tempfile.TemporaryDirectory(prefix="csx-test-cache-", ignore_cleanup_errors=True)
    config.add_cleanup(cache.cleanup)
    os.environ["XDG_CACHE_HOME"] = cache.name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the model of Slurm has explored: tests record it as the property `model`."""
    reports = terminalreporter.getreports("passed")
    texts = [text for report in reports for name, text in report.user_properties if name == "model"]
    if texts:
        terminalreporter.section("model of Slurm, explored exhaustively with the real plan")
        for text in texts:
            terminalreporter.write_line(str(text))
