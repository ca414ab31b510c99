"""What is done to regions: tags, labels, copies and views, each of which can be undone."""
