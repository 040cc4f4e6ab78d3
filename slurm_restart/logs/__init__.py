"""Rules over log lines, as data, and the scanner that applies them."""
