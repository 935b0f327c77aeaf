"""For all tests. How long an example takes says more of the machine than of the code: hypothesis has no deadline."""

from typing import Final

import pytest
from hypothesis import settings

settings.register_profile("rejoinder", deadline=None)
settings.load_profile("rejoinder")

_LONG: Final = ("faults", "docs", "system", "browser", "training", "app")
"""Directories of tests, those with the longest ones first: side by side they end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the directories with the longest tests first; what is in them stays in its order."""

    def place(item: pytest.Item) -> int:
        directory = item.nodeid.removeprefix("tests/").partition("/")[0]
        return _LONG.index(directory) if directory in _LONG else len(_LONG)

    items.sort(key=place)
