"""Pairs from captions: phrases, grounded in the picture."""
