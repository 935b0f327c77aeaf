"""Deleting what was said long ago and judged by nobody."""
