"""How often one may ask: counted for each key or address, and shared by all replicas through the database."""
