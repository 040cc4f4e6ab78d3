"""`csx-sbatch`: submit the jobs of a trainer config."""
