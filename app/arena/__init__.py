"""The arena: whoever likes sends a message to two of the loaded systems, blindly, and votes.

It is a study that never ends: a round is an item, drawn for one visitor and judged by them alone, under the same rules
as any other study. So its votes stand on the board and in the exports like all others.
"""
