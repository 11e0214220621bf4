"""Datasets that are downloaded: archives, their readers, and how each is verified."""
