"""Tables, plots and statistics over outcomes."""
