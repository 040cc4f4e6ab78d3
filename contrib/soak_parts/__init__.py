"""The parts of contrib/soak: the cluster, the faults, one run, and what must hold of it."""
