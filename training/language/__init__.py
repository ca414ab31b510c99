"""Training of language models on regions."""
