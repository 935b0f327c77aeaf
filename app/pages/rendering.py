"""Turning what the services say into HTML, in the visitor's language and colours. Jinja2 escapes every text."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import jinja2
from fastapi import Request
from starlette.responses import HTMLResponse

from app.access.caller import Caller
from app.errors import ServiceError
from app.pages.chat.schemas import Place
from app.pages.visitors import remember
from app.pages.words import choose_language, words_of
from app.pages.words.errors import said, sayings

LANGUAGE_COOKIE = "rejoinder-language"
THEME_COOKIE = "rejoinder-theme"
THEMES = ("light", "dark")
"""Chosen by the visitor; without a choice the device's own applies."""


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Words:
    """The words of a page as templates read them. Not a dict: there, `words.copy` would be a method of the dict's."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words

    def __getattr__(self, name: str) -> str:
        try:
            return self._words[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name: str) -> str:
        return self._words[name]

    def __contains__(self, name: str) -> bool:
        return name in self._words


def page(request: Request, template: str, words: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Return a page made from `template`, with the words of the group `words` beside those that all pages have."""
    asked, language = request.query_params.get("lang", ""), language_of(request)
    theme = next(
        (one for one in (request.query_params.get("theme"), request.cookies.get(THEME_COOKIE)) if one in THEMES), ""
    )
    html = (
        _templates()
        .get_template(template)
        .render(
            language=language,
            words=Words(words_of(words, language)),
            section=words,
            theme=theme,
            here=lambda **changed: _here(request, **changed),
            address=address,
            signed_in=_signed_in(request),
            gap="" if language == "zh" else " ",  # behind a colon: the full-width one has its own
            loaded=request.app.state.models.names,
            broken_models=list(request.app.state.models.broken),
            translated=lambda message, code, status: said(language, message, code, status),
            error_words=sayings(language),
            **values,
        )
    )
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie", "Content-Language": language}
    response = HTMLResponse(html, status_code=status, headers=headers)
    if asked.lower().split("-")[0] == language:
        remember(response, request, LANGUAGE_COOKIE, language)
    if request.query_params.get("theme") in THEMES:
        remember(response, request, THEME_COOKIE, theme, readable=True)
    return response


def language_of(request: Request) -> str:
    """Return the visitor's language: the address's, else the one they chose before, else their browser's."""
    kept, accept = request.cookies.get(LANGUAGE_COOKIE, ""), request.headers.get("accept-language", "")
    return choose_language(request.query_params.get("lang", ""), choose_language(kept, accept) if kept else accept)


def error_page(request: Request, error: ServiceError) -> HTMLResponse:
    """Return a page that says what went wrong and leads back."""
    response = page(request, "error.html", "errors", status=error.status, error=error)
    response.headers.update(error.headers)
    return response


def address(place: Place, **changed: str) -> str:
    """Return the address of the chat page at `place`, with some of its parts changed."""
    parts = {name: value for name, value in {**place.model_dump(), **changed}.items() if value and name in PLACE_FIELDS}
    return f"/?{urlencode(parts)}" if parts else "/"


def _signed_in(request: Request) -> bool:
    caller: Caller | None = getattr(request.state, "caller", None)  # what fails before the guard has none
    return caller is not None and caller.signed_in


PLACE_FIELDS = tuple(Place.model_fields)


def _here(request: Request, **changed: str) -> str:
    """Return this page's address with some of its query changed; of what only takes forms, the first page's."""
    if request.method != "GET":
        return f"/?{urlencode(changed)}"
    query = {**request.query_params, **changed}
    path = "/" + request.url.path.lstrip("/")  # two slashes at the beginning would name another host
    return f"{path}?{urlencode(query)}"
