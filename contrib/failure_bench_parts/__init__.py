"""Parts of contrib/failure-bench: the cases, the score and the baselines."""
