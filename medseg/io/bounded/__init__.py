"""Guards that every reader and writer stands on: errors, limits, atomic writes, archives, weights."""
