"""What every command for a whole cohort shares: its cases, its parts, its locks, and the manifest of what is done."""
