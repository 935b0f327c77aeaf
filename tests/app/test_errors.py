"""The one shape of errors, and how fields are named in it."""

import json

import pytest
from fastapi.testclient import TestClient

from app.errors import BadRequestError, OverloadedError, answer, parameter


def test_an_error_that_quotes_broken_text_can_still_be_sent() -> None:
    response = answer(BadRequestError("no field \ud800", param="a\udfff", code="x"))
    assert json.loads(response.body) == {
        "error": {"message": "no field ?", "type": "invalid_request_error", "param": "a?", "code": "x"}
    }


def test_overload_says_when_to_try_again() -> None:
    response = answer(OverloadedError("full", retry_after=7))
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ((), None),
        (("n",), "n"),
        (("messages", 0, "content", "(parts)", 1, "text"), "messages[0].content[1].text"),
        (("contexts", 3, 0), "contexts[3][0]"),
    ],
)
def test_fields_are_named_as_the_client_would(location: tuple[int | str, ...], name: str | None) -> None:
    assert parameter(location) == name


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/files", "GET, POST"), ("/v1/files/x", "DELETE, GET"), ("/v1/studies/x/start", "POST")]
)
def test_an_address_tells_all_methods_that_it_answers(standing_client: TestClient, path: str, allowed: str) -> None:
    response = standing_client.put(path)
    assert response.status_code == 405
    assert response.headers.get_list("allow") == [allowed]
