"""`/docs` says everything that the OpenAPI document says, and leads nowhere that is not there."""

import html
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.pages.reference.view import Field, Word, reference_of

DOCUMENT: dict[str, Any] = {
    "info": {"title": "T", "version": "1"},
    "paths": {
        "/things/{name}": {
            "put": {
                "tags": ["things"],
                "operationId": "put_thing",
                "summary": "Put",
                "parameters": [
                    {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 9}},
                    {"name": "sort", "in": "query", "schema": {"enum": ["a", "b"], "default": "a"}},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
                    "4XX": {"content": {}},
                },
            }
        }
    },
    "components": {
        "schemas": {
            "Thing": {
                "description": "A <thing>.",
                "required": ["size"],
                "properties": {
                    "size": {
                        "anyOf": [{"type": "integer", "minimum": 1, "exclusiveMaximum": 2.0**63}, {"type": "null"}]
                    },
                    "parts": {
                        "type": "array",
                        "items": {"$ref": "#/components/schemas/Thing"},
                        "description": "Of it.",
                    },
                },
            }
        }
    },
}


def test_an_operation_is_told_with_all_that_it_takes_and_gives() -> None:
    reference = reference_of(DOCUMENT)
    [operation] = reference.subjects["things"]
    assert (operation.method, operation.path, operation.text) == ("PUT", "/things/{name}", "Put")
    assert operation.parameters == (
        Field("name", (Word("string"),), True, "path", "at most 9 characters"),
        Field("sort", (Word("'a' or 'b'"),), False, "query", "default a"),
    )
    assert operation.body == (Word("Thing", "Thing"),)
    assert [(answer.status, answer.type) for answer in operation.answers] == [("200", (Word("Thing", "Thing"),))]
    [schema] = reference.schemas
    assert schema.fields == (
        Field("size", (Word("integer"), Word(" or "), Word("null")), True, note="at least 1; less than 2^63"),
        Field("parts", (Word("list of "), Word("Thing", "Thing")), False, note="Of it."),
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_holds_the_whole_interface_and_its_links_lead_somewhere(
    standing_client: TestClient, language: str
) -> None:
    document = standing_client.get("/openapi.json").json()
    response = standing_client.get(f"/docs?lang={language}")
    assert response.status_code == 200
    text = html.unescape(re.sub(r"<[^>]+>", "", response.text))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}" in text
            assert operation["description"] in text
            assert all(parameter["name"] in text for parameter in operation.get("parameters", ()))
    for name, schema in document["components"]["schemas"].items():
        assert f'id="schema-{name}"' in response.text
        assert all(field in text for field in schema.get("properties", ()))
    anchors = set(re.findall(r'id="([^"]+)"', response.text))
    assert set(re.findall(r'href="#([^"]+)"', response.text)) <= anchors
    assert len(re.findall(r'id="', response.text)) == len(anchors)


def test_what_the_document_says_is_shown_as_text(standing_client: TestClient) -> None:
    app: Any = standing_client.app
    plain = app.openapi
    try:
        app.openapi = lambda: DOCUMENT
        text = standing_client.get("/docs").text
    finally:
        app.openapi = plain
    assert "A &lt;thing&gt;." in text


def test_the_page_of_batches_leads_there(standing_client: TestClient) -> None:
    assert 'href="/docs#batches"' in standing_client.get("/batches").text
    assert 'id="batches"' in standing_client.get("/docs").text
