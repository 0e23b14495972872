"""A believable shop to try the desk on: made up from a seed, marked, removable."""
