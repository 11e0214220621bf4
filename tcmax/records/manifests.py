"""What the JSON files beside the records share."""

MANIFEST_VERSION = 1
