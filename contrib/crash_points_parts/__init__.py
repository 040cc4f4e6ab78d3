"""The parts of contrib/crash-points: the scenarios, one trial, what must hold, the walk."""
