"""A method and a dataset for tcmax, from another package."""
