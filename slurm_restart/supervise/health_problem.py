"""The exception of a check that finds a node unhealthy."""


class UnhealthyError(Exception):
    """The node is not healthy; the text says what was found."""
