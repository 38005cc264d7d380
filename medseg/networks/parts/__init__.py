"""Parts of the networks: plug-in points, blocks, bodies that several networks share, and weights."""
