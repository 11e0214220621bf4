"""The experiment file: typed settings, the grid it spans, its switches, looks, paths and YAML."""
