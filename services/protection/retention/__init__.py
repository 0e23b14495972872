"""What is kept, what goes and why, and its removal."""
