"""The bundles that come with this project, for whoever has none of their own yet. Knows where they are, not what."""

from pathlib import Path

from chatbot.models_directory import bundles_in


def released_bundles() -> Path | None:
    """Return the directory that holds one bundle for each language; None where only the packages were installed."""
    directory = Path(__file__).resolve().parents[1] / "bundles"
    return directory if bundles_in(directory) else None
