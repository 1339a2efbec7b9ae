"""The OpenAPI document, and the page that shows it."""

import json
import re
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from aiserv.api.examples import EXAMPLES
from aiserv.api.glossary import MEANINGS
from aiserv.api.openapi import openapi, text_of
from aiserv.api.routes import ROUTES, TABLE
from aiserv.models import Request
from tests.api.client import Api

COMMITTED = Path(__file__).parents[2] / "openapi.json"


def test_the_committed_document_is_that_of_the_code() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text_of(TABLE), "run: python -m aiserv.api > openapi.json"


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(openapi(TABLE)).validate()


def test_the_document_has_every_route() -> None:
    documented = {(method.upper(), path) for path, methods in openapi(TABLE)["paths"].items() for method in methods}

    assert documented == {route for route in ROUTES if route[1] not in {"/openapi.json", "/docs"}}


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does() -> None:
    operations = [each for methods in openapi(TABLE)["paths"].values() for each in methods.values()]

    assert len({each["operationId"] for each in operations}) == len(operations)
    assert all(each["summary"] for each in operations)


def test_the_table_names_every_field_of_a_request_once() -> None:
    for route in TABLE:
        for model in (route.query, route.body):
            assert model is None or issubclass(model, Request)


def test_every_field_is_explained_and_no_explanation_is_left_over() -> None:
    document = openapi(TABLE)
    parameters = [
        (parameter["name"], parameter["schema"])
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    ]
    fields = [
        (f"{model}.{name}", schema)
        for model, shape in document["components"]["schemas"].items()
        for name, schema in shape["properties"].items()
    ]
    names = {name for name, _ in parameters + fields} | {name.rpartition(".")[2] for name, _ in fields}

    assert [name for name, schema in parameters + fields if not schema.get("description")] == []
    assert MEANINGS.keys() <= names


def test_a_duration_says_what_it_is_besides_what_it_is_for() -> None:
    shapes = openapi(TABLE)["components"]["schemas"]

    said = shapes["ClaimJobs"]["properties"]["wait"]["description"]

    assert said.startswith("How long to wait: ")
    assert "A Go duration such as" in said


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_an_example_is_what_its_model_takes(model: type[Request]) -> None:
    assert model.model_validate_json(json.dumps(EXAMPLES[model])).model_fields_set


async def test_the_document_is_served(api: Api) -> None:
    answer = await api.get("/openapi.json")

    assert answer.text == COMMITTED.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["/docs", "/docs/docs.js", "/docs/docs.css"])
async def test_the_page_loads_nothing_from_elsewhere(api: Api, path: str) -> None:
    answer = await api.get(path)

    assert answer.status == 200
    assert not re.search(r"https?:|[\"'(]//", answer.text)
    policy = answer.headers["Content-Security-Policy"].split("; ")
    # The last three do not follow the first.
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} <= {*policy}


async def test_nothing_else_is_served_from_the_folder_of_the_page(api: Api) -> None:
    for path in ("/docs/nothing", "/docs/..%2F..%2Fsettings.py", "/docs/__init__.py"):
        assert (await api.get(path)).refusal == (404, "not_found")
