"""The indexing house's commands."""
