"""The networks as torch modules, their precisions, and the fingerprint of their weights."""
