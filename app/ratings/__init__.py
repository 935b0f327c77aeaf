"""Judging served replies, one thumb at a time."""
