"""Tables and engines of the two planes: control (ours) and shop (protected)."""
