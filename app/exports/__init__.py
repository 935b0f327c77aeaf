"""Judgements on their way out: complete enough to attribute each, with raters under a name made for one export."""
