"""Pairs from pictures of one class each."""
