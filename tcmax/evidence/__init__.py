"""From the item scores of one dataset to comparisons: rows of EVIDENCE."""
