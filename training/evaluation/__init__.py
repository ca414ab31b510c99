"""Which encoder finds regions best: the paper's experiments, and the same on anyone's data."""
