"""Total correlation: the TCMax loss, laws whose total correlation is known exactly, and held-out estimators."""
