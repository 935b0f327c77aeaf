"""Blind studies: what is judged, by whom, how often, and the queue that hands it out."""
