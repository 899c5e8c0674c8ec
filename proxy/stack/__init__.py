"""What runs, in which order: the launcher's side of the house. Called by the CLI only."""
