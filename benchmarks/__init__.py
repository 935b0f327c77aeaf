"""Programs that time this project beside a plain reference in one run."""
