"""Keys: encryption for recipients, signed manifests, and the sheet that brings them back."""
