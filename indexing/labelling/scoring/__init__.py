"""What gives a region a score for a class."""
