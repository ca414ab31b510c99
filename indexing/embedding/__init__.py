"""From labels to a published index: plan, shards, merge, and what is fresh."""
