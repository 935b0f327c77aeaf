"""Who did what to studies and raters: actions and ids, never identity and never text."""
