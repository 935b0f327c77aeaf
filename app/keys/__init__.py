"""API keys: who may ask from outside this machine, and for what. Secrets are told once and stored as hashes."""
