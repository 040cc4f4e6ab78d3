"""Programs for developers and administrators that are not installed with the package."""
