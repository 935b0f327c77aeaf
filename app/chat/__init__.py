"""Talking to the models over HTTP: completions, lists of contexts, and what was answered."""
