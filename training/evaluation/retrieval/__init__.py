"""Retrieval between regions and texts."""
