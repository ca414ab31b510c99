"""Region-text pairs at rest: records, shards, filters, reports."""
