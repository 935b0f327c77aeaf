"""`/sign-in` and `/sign-out`: a browser shows its key once and keeps a cookie, which only our pages' forms act by."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.access.guard import COOKIE
from app.database import Writing
from app.errors import ServiceError, UnauthorizedError, answer, is_for_a_person
from app.keys import service
from app.keys.keyring import Keyring
from app.pages.forms import form_of, query_of, see_other
from app.pages.rendering import error_page, page
from app.settings import Settings
from app.wire import Text

router = APIRouter()


class Wanted(BaseModel):
    """The page that somebody was on the way to."""

    model_config = ConfigDict(extra="ignore")

    next: Annotated[Text, Field(max_length=2000)] = "/"

    @property
    def address(self) -> str:
        """Return the page's address; never one of another host."""
        # Browsers take a backslash for a slash, and two slashes for the beginning of a host; line breaks they drop.
        ours = self.next.startswith("/") and not self.next.startswith("//")
        return self.next if ours and self.next.isprintable() and "\\" not in self.next else "/"


class SignInForm(Wanted):
    """A key, and where to go on."""

    key: Annotated[Text, Field(max_length=255)] = ""


class Nothing(BaseModel):
    """A form that is a button."""


@router.get("/sign-in")
async def show(request: Request, wanted: Annotated[Wanted, Depends(query_of(Wanted))]) -> Response:
    """Ask for a key."""
    settings: Settings = request.app.state.settings
    if settings.admits == "all":
        return see_other(wanted.address)
    return _form(request, wanted)


@router.post("/sign-in")
def enter(request: Request, form: Annotated[SignInForm, Depends(form_of(SignInForm))], session: Writing) -> Response:
    """Give a browser that shows a key its cookie."""
    try:
        token = service.sign_in(session, form.key.strip())
    except UnauthorizedError:
        return _form(request, form, wrong=True)
    response = see_other(form.address)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(service.SIGNED_IN.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out", dependencies=[Depends(form_of(Nothing))])
def leave(request: Request, session: Writing) -> Response:
    """Forget a browser."""
    keyring: Keyring = request.app.state.keyring
    token = request.cookies.get(COOKIE)
    if token:
        service.sign_out(session, token)
        keyring.forget(token)
    response = see_other("/sign-in")
    response.delete_cookie(COOKIE)
    return response


def refuse(request: Request, error: ServiceError) -> Response:
    """Return the answer to a request that is not let through: whoever only needs to sign in is led there."""
    if not is_for_a_person(request):
        return answer(error)
    if isinstance(error, UnauthorizedError):
        query = f"?{request.url.query}" if request.url.query else ""
        wanted = f"{request.url.path}{query}" if request.method == "GET" else "/"
        return see_other("/sign-in" if wanted == "/" else f"/sign-in?{urlencode({'next': wanted})}")
    return error_page(request, error)


def _form(request: Request, wanted: Wanted, *, wrong: bool = False) -> Response:
    return page(request, "sign_in.html", "sign_in", status=401 if wrong else 200, wanted=wanted.address, wrong=wrong)
