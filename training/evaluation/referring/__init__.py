"""Referring expressions: which region a sentence means."""
