"""What the networks are made of: plug-in points, blocks, shared bodies and weights."""
