"""Which models are loaded, and why others are not. Knows their names and cards, not how they draw a reply."""

from collections.abc import Iterable, Iterator, Mapping

from app.errors import NotFoundError
from chatbot.messages import ModelCard


class Models:
    """The loaded models by name. What the engines load anew is put in place here."""

    def __init__(self, cards: Iterable[ModelCard] = (), broken: Mapping[str, str] | None = None) -> None:
        self.replace(cards, broken or {})

    def replace(self, cards: Iterable[ModelCard], broken: Mapping[str, str]) -> None:
        """Know these models from now on."""
        self._cards = {card.name: card for card in cards}
        self.broken: Mapping[str, str] = dict(broken)

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self._cards.values())

    def __len__(self) -> int:
        return len(self._cards)

    @property
    def names(self) -> list[str]:
        """Return the names of the loaded models."""
        return list(self._cards)

    def get(self, name: str) -> ModelCard:
        """Return the model called `name`. Raises NotFoundError, which lists the loaded ones."""
        try:
            return self._cards[name]
        except KeyError:
            loaded = ", ".join(self._cards) or "none"
            raise NotFoundError(
                f"the model {name[:100]!r} is not loaded; loaded: {loaded}", param="model", code="model_not_found"
            ) from None
