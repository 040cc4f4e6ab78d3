"""Build hook: validates the package's rules and adds their compiled form to the wheel."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGET = "slurm_restart/logs/compiled_rules.json"


class CompileRules(BuildHookInterface):  # type: ignore[type-arg,misc,unused-ignore]
    """Compile the rules into a temporary file, which hatchling copies into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled rules to a wheel; an editable install reads the YAML files instead."""
        if self.target_name != "wheel" or version == "editable":
            return
        self._directory = tempfile.TemporaryDirectory()
        compiled = Path(self._directory.name) / "compiled_rules.json"
        compiled.write_bytes(_compile(Path(self.root)))
        build_data["force_include"][str(compiled)] = TARGET

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary file."""
        if hasattr(self, "_directory"):
            self._directory.cleanup()


def _compile(root: Path) -> bytes:
    """Return the compiled form of the rules of this checkout.

    Raises:
        SystemExit: a rule is invalid.
    """
    sys.path.insert(0, str(root))
    from slurm_restart.logs.compiled_rules import FileRules, compile_package  # noqa: PLC0415
    from slurm_restart.logs.rule_yaml import parse_rules  # noqa: PLC0415
    from slurm_restart.logs.rules import PACKAGE_RULES, files_of  # noqa: PLC0415

    contents = [(path, path.read_bytes()) for path in files_of(PACKAGE_RULES)]
    files = [(path, data, FileRules(*parse_rules(path, data))) for path, data in contents]
    if problems := [problem for *_, found in files for problem in found.problems]:
        raise SystemExit("\n".join(problems))
    return compile_package(files)
