"""Who may ask for what: one table of rules, and the guard before every request that holds to it."""
