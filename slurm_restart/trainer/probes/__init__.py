"""Checks of checkpoints, a module for each family of forms; used in a short-lived process only.

A check returns the step if the checkpoint holds it, raises `BrokenCheckpointError` if it is
certainly incomplete or damaged, and OSError if it cannot be read now. Nothing in a checkpoint is
executed: no pickle is loaded, and no library of a trainer is imported.
"""
