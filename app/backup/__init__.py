"""A copy of all that the service keeps, in one file, and the way back."""
