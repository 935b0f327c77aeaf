"""The statistics of judgements: pure functions of arrays. Knows no database, no text and no page."""
