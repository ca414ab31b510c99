"""What operators and panels share: forms, jobs, reports, tiles."""
