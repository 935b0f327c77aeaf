"""Charts as SVG, drawn on the server. Text is escaped; colours are classes, so that dark mode changes them too."""
