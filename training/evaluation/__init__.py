"""How good a generator is, measured on replies and token ids; never how it is trained."""
