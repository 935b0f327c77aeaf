"""In-flight batching: replies are written side by side, and each begins and ends at any step.

Knows token ids, nothing of text or HTTP. Nothing is imported here: `waiting` serves a process that has no torch.
"""
