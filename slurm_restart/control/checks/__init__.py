"""The checks of `csx-restart doctor`, by subject."""
