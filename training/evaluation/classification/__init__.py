"""Zero-shot classification of regions."""
