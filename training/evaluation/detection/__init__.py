"""Open-vocabulary detection over proposals."""
