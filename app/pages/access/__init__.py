"""Signing in with a key and out again, and what a browser sees that may not pass."""
