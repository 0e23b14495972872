"""Facts about the shop that the desk protects, and the sample shop for a first look."""
