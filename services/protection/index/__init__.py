"""What the control database knows of the snapshots in the store."""
