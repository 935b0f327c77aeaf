"""Files of requests, worked through while nobody waits: what was begun is finished, whatever dies meanwhile."""
