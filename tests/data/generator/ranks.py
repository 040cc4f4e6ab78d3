"""Cases of several ranks under torchrun."""

CASES = ()
