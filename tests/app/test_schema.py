"""schemathesis against the whole service: every route of the OpenAPI document answers as the document says, never 5xx.

Three things at once, on each kind of database: the edges of each parameter, made-up requests right and wrong, and
chains of requests in which what one answers is what the next is about.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from app.engines import ProcessEngine
from app.main import build_generation, create_app
from app.settings import Settings
from tests.app.conftest import Serving
from tests.app.people import Owner

GOLDEN = Path(__file__).parents[1] / "golden"
PROGRAM = Path(sys.executable).with_name("schemathesis")

# A right body can still name what is not there. And at /v1/models/reload more is allowed than the document says: a
# model may be called "reload" (`Allow` is tested in `test_errors`).
LEFT_OUT = "positive_data_acceptance,allow_header_conformance"
CONFIG = """
[[operations]]
include-path-regex = "/v1/studies/.slug./(next|judgements|skip|flag|session|consent|progress|results)"
parameters = {{ slug = "s" }}

[[operations]]
include-path-regex = "/v1/models/.model."
parameters = {{ model = "recurrent" }}
"""


def check(serve: Serving, database_url: str, folder: Path, *options: str) -> None:
    models = folder / "models"
    models.mkdir()
    (models / "recurrent").symlink_to(GOLDEN / "recurrent")
    # 4 candidates at most: what is looked for is found with few.
    settings = Settings(models=models, state=folder / "state", database_url=database_url, max_candidates=4)
    engine = ProcessEngine(models, "cpu", lanes=8, precision="fp32")
    address = serve(create_app(settings, build_generation(settings, [engine])))
    rater = started_study(address)
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG.format(), encoding="utf-8")
    done = subprocess.run(
        [
            *(PROGRAM, "--config-file", config, "run", f"{address}/openapi.json", "--checks", "all"),
            *("--exclude-checks", LEFT_OUT, "-H", f"Authorization: Bearer {rater}", "--request-timeout", "20"),
            *("--generation-deterministic", "--seed", "1", "--no-color"),
            *("--warnings", "off", "--suppress-health-check", "all", *options),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    print(done.stdout)  # noqa: T201 - for those who run it with -s


def started_study(address: str) -> str:
    """Start the study "s" and return the session token of a rater who has agreed to it."""
    import httpx

    with httpx.Client(base_url=address) as client:
        owner = Owner(client, "s").running(n=20, k=2, reveal=True)  # type: ignore[arg-type]
        return owner.rater().token


def test_every_route_answers_as_the_document_says(serve: Serving, database_url: str, tmp_path: Path) -> None:
    check(serve, database_url, tmp_path, "--max-examples", "8", "--no-shrink")


@pytest.mark.slow
def test_every_route_answers_as_the_document_says_for_long(serve: Serving, database_url: str, tmp_path: Path) -> None:
    check(serve, database_url, tmp_path, "--max-examples", "200")
