"""Slurm clusters with and without the plugin, for tests, benchmarks, the soak test and the demo."""
