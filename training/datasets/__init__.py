"""Readers of published data sets, and the examples that they give."""
