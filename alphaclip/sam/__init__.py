"""Masks from Segment Anything: automatic, for boxes, or for points."""
