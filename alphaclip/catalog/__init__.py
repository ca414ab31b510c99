"""Which models there are, by name, and what a file or folder of weights says of itself."""
