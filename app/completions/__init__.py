"""Completions of plain prompts, for clients that do not speak of messages."""
