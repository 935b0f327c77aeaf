"""The history of the database's schema. Knows tables as they were at each revision, never the code's present ones."""
