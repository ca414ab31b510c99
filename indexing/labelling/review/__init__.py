"""A person's answers about regions: runs, their queue, and previews."""
