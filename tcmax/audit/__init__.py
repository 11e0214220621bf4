"""Judging claims: from published summary numbers alone, and from stored predictions."""
