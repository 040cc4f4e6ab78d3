from pathlib import Path

import pytest

from tests.unit.examples.example import Example


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example(tmp_path)
