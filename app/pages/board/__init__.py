"""The board: who is preferred, by how much, how sure that is, and what may be wrong with it."""
