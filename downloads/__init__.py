"""Corpora from their publishers' servers: which archives, loading them, unpacking them, putting them in place."""
