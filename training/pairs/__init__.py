"""RGBA region-text pairs: pictures whose regions have texts, in WebDataset shards."""
