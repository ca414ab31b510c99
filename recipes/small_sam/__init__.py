"""How the small SAM of the tests is made; not installed."""
