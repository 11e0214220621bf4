"""From raw media to tensor stores, and the datasets that stand on them."""
