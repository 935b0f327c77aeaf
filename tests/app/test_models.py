"""The loaded models, as the service knows them."""

from app.models import Models
from chatbot import worker
from tests.app.fakes import FakeBot


def test_models_are_found_by_name() -> None:
    bot = worker.card_of(FakeBot("one"))
    assert Models([bot]).get("one") is bot
