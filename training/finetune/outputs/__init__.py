"""What a run writes: checkpoints, logs, curves, its report."""
