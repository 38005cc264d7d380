"""Many cases in one process: where they lie, and networks that stay in memory from one to the next."""
