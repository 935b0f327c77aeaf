"""The chat page: live conversations, streamed, kept, rated and forgotten."""
