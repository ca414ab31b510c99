"""Files of weights: checkpoints, architectures, and the alpha channel that they carry."""
