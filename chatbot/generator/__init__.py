"""Generators of replies: one interface, several architectures."""
