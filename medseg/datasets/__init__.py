"""Data sets: public collections as they are distributed, and synthetic phantoms with known truth."""
