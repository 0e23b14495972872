"""Side-by-side measurements; each prints figures and ratios, nothing is judged by feeling."""
