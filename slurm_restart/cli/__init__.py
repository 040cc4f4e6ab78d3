"""The commands, thin: arguments in, a call, output and an exit code."""
