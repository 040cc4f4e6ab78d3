"""The only package that knows Slurm's commands and libraries."""
