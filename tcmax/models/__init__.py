"""Models: encoders, fusion heads, the classifier of both, and what they share."""
