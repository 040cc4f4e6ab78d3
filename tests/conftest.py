"""What all tests have in common."""

import sys
from pathlib import Path

# contrib is not installed. Last, so that the package that is tested is the installed one.
sys.path.append(str(Path(__file__).parents[1]))
