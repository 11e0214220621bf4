"""The on-disk contracts: kinds of records, files, manifests, and the provenance of each."""
