"""Masks of a dataset: made by a segmenter, or from boxes."""
