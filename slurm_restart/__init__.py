"""Automatic job restart for Slurm: requeue a failed training run from its last checkpoint."""

__version__ = "0.2.0"
