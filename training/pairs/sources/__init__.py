"""Where pairs come from: datasets, published sets, GRIT."""
