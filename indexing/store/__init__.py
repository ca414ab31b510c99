"""Vectors at rest: immutable segment files, a manifest for each version, one writer."""
