"""From a query to hits: parts of a query, ranking, and the snapshot that they look at."""
