"""What was judged, analysed: quality of raters, exclusions, strengths with intervals."""
