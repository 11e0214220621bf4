"""One shared training loop, its checkpoints, and the resolved description of a run."""
