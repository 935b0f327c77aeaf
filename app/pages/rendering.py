"""Turning what the services say into HTML, in the visitor's language. Jinja2 escapes every text."""

from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import jinja2
from fastapi import Request
from starlette.responses import HTMLResponse

from app.errors import ServiceError
from app.pages.schemas import Place
from app.pages.service import ChatPage
from app.pages.words import WORDS, choose_language


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def chat_page(request: Request, page: ChatPage) -> HTMLResponse:
    """Return the chat page."""
    return _render("chat.html", request, page.place, page=page)


def error_page(request: Request, error: ServiceError) -> HTMLResponse:
    """Return a page that says what went wrong and leads back."""
    lang = request.query_params.get("lang", "")
    response = _render(
        "error.html",
        request,
        Place.model_construct(lang=lang[:35]),
        error=error,
        status=error.status,
    )
    response.headers.update(error.headers)
    return response


def address(place: Place, **changed: str) -> str:
    """Return the address of the chat page at `place`, with some of its parts changed."""
    parts = {name: value for name, value in {**place.model_dump(), **changed}.items() if value and name in PLACE_FIELDS}
    return f"/?{urlencode(parts)}" if parts else "/"


PLACE_FIELDS = tuple(Place.model_fields)


def _render(template: str, request: Request, place: Place, status: int = 200, **values: object) -> HTMLResponse:
    language = choose_language(place.lang, request.headers.get("accept-language", ""))
    html = (
        _templates()
        .get_template(template)
        .render(
            language=language,
            words=WORDS[language],
            place=place,
            address=address,
            **values,
        )
    )
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Language", "Content-Language": language}
    return HTMLResponse(html, status_code=status, headers=headers)
