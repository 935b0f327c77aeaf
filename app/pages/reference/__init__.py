"""The interface as a page."""
