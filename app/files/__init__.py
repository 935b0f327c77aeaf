"""Uploaded files, and those that the service makes for download."""
