"""What a FiftyOne dataset holds for an index: labels, fields, and where its stores lie."""
