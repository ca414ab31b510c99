"""Labels for a dataset's regions, with a stated precision."""
