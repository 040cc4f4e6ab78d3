"""What a log says: rules as data, and the scanner that applies them."""
