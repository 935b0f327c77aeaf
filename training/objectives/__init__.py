"""What a generator learns from: one file for each system. A step reads like the paper's algorithm box."""
