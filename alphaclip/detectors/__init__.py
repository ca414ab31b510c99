"""Open-vocabulary detectors: boxes in a picture for words."""
