"""What the service tells of itself in numbers: `/metrics`."""
