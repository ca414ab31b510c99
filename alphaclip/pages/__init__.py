"""What a person looks at: crops of regions, and pages of them in one file."""
