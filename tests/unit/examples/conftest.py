from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.examples.example import Example


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    one = Example(tmp_path)
    yield one
    one.end()
