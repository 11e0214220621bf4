"""Statistics of seeds x items: what a measured gain is worth.

Everything here is a pure function of arrays and needs NumPy and SciPy only. Start at `crossed`, which splits
the variance of a score, or of a paired difference, into its seed and item parts and gives the default
interval for each population; the other modules compare, correct, rank and plan around it.
"""
