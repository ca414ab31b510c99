"""What language models say of an index's regions: descriptions, and answers to questions."""
