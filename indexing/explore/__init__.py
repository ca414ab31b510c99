"""What can be asked of an index beside a search: several indexes, odd and unlabelled regions."""
