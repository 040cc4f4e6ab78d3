"""`csx-sbatch`: from a trainer config to submitted jobs."""
