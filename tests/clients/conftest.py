"""A real service with real bundles for the clients that people have."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import Service, serving

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("clients")
    models = folder / "models"
    models.mkdir()
    for name in ("recurrent", "transformer"):
        (models / name).symlink_to(GOLDEN / name)
    with serving(models, folder / "state") as running:
        yield running
