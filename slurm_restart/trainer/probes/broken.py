"""The exception of a checkpoint that is certainly not complete."""


class BrokenCheckpointError(Exception):
    """The text says why the checkpoint is incomplete or damaged."""
