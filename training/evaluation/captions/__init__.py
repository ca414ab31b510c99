"""Scores of region captions."""
