"""Looking for what would keep the service from working, before somebody meets it."""
