"""Pure decisions: facts in, decisions out. Nothing here reads a clock, a file or Slurm."""
