"""What a rater does in a study: takes the next item, judges it, skips it, flags it. Names no system before the vote."""
