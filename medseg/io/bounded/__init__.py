"""What all readers and writers use: errors, limits, atomic writes, archives, weights."""
