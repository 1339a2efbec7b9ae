"""Everything that can go wrong with a request has its problem."""

import gzip
import json
import re
import zlib
from uuid import UUID

import pytest
from aiohttp import ClientSession

from aiserv.api.examples import EXAMPLES
from aiserv.api.routes import ROUTES, TABLE
from tests.api.client import CHAT, Api
from tests.api.conftest import Start

MIB = 1024 * 1024
CHAT_JSON = json.dumps(CHAT)


@pytest.mark.parametrize("path", ["/nothing", "/", "nothing", "jobs/", "jobs/1/2/3", "/api/v1"])
async def test_an_unknown_path_is_not_found(refusing: Api, path: str) -> None:
    assert (await refusing.get(path)).refusal == (404, "not_found")


@pytest.mark.parametrize("path", ["jobs/batch", "jobs/claim", "jobs/retry", "jobs/cancel"])
async def test_a_verb_beside_the_ids_of_jobs_takes_only_post(refusing: Api, path: str) -> None:
    answer = await refusing.get(path)

    assert answer.refusal == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_wrong_method_is_told_which_are_right(refusing: Api, method: str, path: str) -> None:
    answer = await refusing.send("DELETE", re.sub(r"\{\w+\}", "x", path))

    assert answer.refusal == (405, "method_not_allowed")
    assert method in answer.headers["Allow"].split(", ")


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"{}}", b"{} x", b"nonsense", b"{'a':1}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}',
        b'{"a":01}', b'{"a":"\n"}', b"\xff", b'{"a":"\xed\xa0\x80"}', b"\xef\xbb\xbf{}", b"\x00", b"{\x00}",
        b'{"a":1,"a":1}', b'{"owner_service":"a","owner_service":"b"}',
        b"[" * 101 + b"]" * 101, b'{"input":' + b"[" * 100 + b"]" * 100 + b"}", b"[" * 100_000,
        b'{"a":' * 100_000, b'{"input":"\\x"}', b'"\\ud800',
    ],
)  # fmt: skip
async def test_what_is_no_json_is_refused(refusing: Api, body: bytes) -> None:
    answer = await refusing.send("POST", "jobs", data=body)

    assert answer.refusal == (400, "invalid_json")


async def test_nesting_100_deep_is_taken(api: Api) -> None:
    body = f'{CHAT_JSON[:-1]},"input":{"[" * 99}"[[["{"]" * 99}}}'

    assert (await api.send("POST", "jobs", data=body.encode())).status == 201


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"[{}]"])
@pytest.mark.parametrize("path", ["jobs", "jobs/batch", "jobs/claim"])
async def test_a_body_that_is_no_object_is_refused(refusing: Api, body: bytes, path: str) -> None:
    answer = await refusing.send("POST", path, data=body)

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["detail"] == "the body must be an object"


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800", r"\udc00", r"\ud83d\ud83d", r"\udc00\ud800", r"a\\\u0000"])
@pytest.mark.parametrize(
    "where", ['"owner_ref":"{}"', '"input":{{"a":["{}"]}}', '"input":{{"{}":1}}', '"metadata":{{"a":"{}"}}']
)
async def test_strings_that_are_no_text_are_refused_anywhere(refusing: Api, text: str, where: str) -> None:
    answer = await refusing.send("POST", "jobs", data=f"{CHAT_JSON[:-1]},{where.format(text)}}}".encode())

    assert answer.refusal == (400, "invalid_request")


@pytest.mark.parametrize("text", [r"\\u0000", r"\ud83d\ude00", r"\\ud800", r"\u00e9"])
async def test_escapes_that_are_text_are_taken(api: Api, text: str) -> None:
    answer = await api.send("POST", "jobs", data=f'{CHAT_JSON[:-1]},"input":"{text}"}}'.encode())

    assert answer.status == 201
    assert f'"input":"{text}"' in answer.text


async def test_a_key_twice_inside_of_a_payload_is_the_callers_business(api: Api) -> None:
    answer = await api.send("POST", "jobs", data=f'{CHAT_JSON[:-1]},"input":{{"a":1,"a":2}}}}'.encode())

    assert '"input":{"a":1,"a":2}' in answer.text


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/octet-stream",
     "application/json; charset=latin-1", "application/x-ndjson", "garbage", ""],
)  # fmt: skip
async def test_a_body_that_says_it_is_no_json_is_refused(refusing: Api, media_type: str) -> None:
    answer = await refusing.send("POST", "jobs", CHAT, headers={"Content-Type": media_type})

    assert answer.refusal == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/vnd.api+json",
        'application/json;charset="utf-8"',
    ],
)
async def test_a_body_that_says_it_is_json_is_taken(api: Api, media_type: str) -> None:
    assert (await api.send("POST", "jobs", CHAT, headers={"Content-Type": media_type})).status == 201


async def test_a_body_that_says_nothing_is_json(api: Api) -> None:
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(CHAT_JSON)}\r\n\r\n"

    assert (await api.raw((head + CHAT_JSON).encode())).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x"])
async def test_an_unknown_content_encoding_is_refused(refusing: Api, encoding: str) -> None:
    answer = await refusing.send("POST", "jobs", CHAT, headers={"Content-Encoding": encoding})

    assert answer.refusal == (415, "unsupported_media_type")


async def test_no_route_takes_what_is_no_id(refusing: Api) -> None:
    for route in TABLE:
        if "_id}" in route.path:
            body = EXAMPLES.get(route.body) if route.body else None
            answer = await refusing.send(route.method, re.sub(r"\{\w+\}", "x", route.path), body)
            assert answer.refusal == (400, "invalid_request"), route.path


async def test_no_route_takes_what_it_does_not_know(api: Api) -> None:
    for route in TABLE:
        path = re.sub(r"\{\w+_id\}", str(UUID(int=0)), route.path).replace("{", "").replace("}", "")
        body = EXAMPLES.get(route.body, {}) if route.body else None
        answers = [await api.send(route.method, f"{path}?verbose=1", body)]
        if isinstance(body, dict):
            answers.append(await api.send(route.method, path, {**body, "verbose": 1}))
        for answer in answers:
            assert answer.refusal == (400, "invalid_request"), path
            assert [error["field"] for error in answer.problem["errors"]] == ["verbose"], path

    assert (await api.get("stats")).json["queue"]["total"] == 0
    assert (await api.get("queues")).json["queues"] == []


async def test_a_body_may_be_compressed(api: Api) -> None:
    packed = gzip.compress(CHAT_JSON.encode())

    assert (await api.send("POST", "jobs", data=packed, headers={"Content-Encoding": "gzip"})).status == 201


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"nonsense", id="nonsense"),
        pytest.param(gzip.compress(b"{}")[:-9], id="without its end"),
        pytest.param(gzip.compress(b"{}")[:5], id="half a header"),
        pytest.param(b"", id="empty"),
        pytest.param(zlib.compress(b"{}"), id="zlib"),
    ],
)
async def test_a_broken_gzip_stream_is_refused(refusing: Api, packed: bytes) -> None:
    answer = await refusing.send("POST", "jobs", data=packed or b"\x1f", headers={"Content-Encoding": "gzip"})

    assert answer.refusal == (400, "invalid_json")


@pytest.fixture
def small(start: Start, session: ClientSession) -> Api:
    return Api(session, start(HTTP_MAX_BODY="64 KiB", HTTP_MAX_BATCH_BODY="128KiB").port)


def padded(size: int) -> bytes:
    return f'{CHAT_JSON[:-1]},"input":"{"x" * (size - len(CHAT_JSON) - 11)}"}}'.encode()


async def test_a_body_may_be_as_large_as_the_limit_and_is_told_what_that_is(small: Api) -> None:
    assert len(padded(64 * 1024)) == 64 * 1024

    largest = await small.send("POST", "jobs", data=padded(64 * 1024))
    larger = await small.send("POST", "jobs", data=padded(64 * 1024 + 1))

    assert largest.status == 201
    assert larger.refusal == (413, "payload_too_large")
    assert "over 0.0625 MiB" in larger.problem["detail"]
    assert "HTTP_MAX_BODY" in larger.problem["hint"]


@pytest.mark.parametrize("path", ["jobs/claim", "jobs/batch"])
async def test_batches_and_claims_may_be_larger(small: Api, path: str) -> None:
    assert (await small.send("POST", path, data=padded(128 * 1024))).status == 400
    assert (await small.send("POST", path, data=padded(128 * 1024 + 1))).refusal == (413, "payload_too_large")


async def test_a_declared_length_over_the_limit_is_refused_at_once(small: Api) -> None:
    answer = await small.first(
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 65537\r\n\r\n{"
    )

    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_length_that_is_not_declared_is_counted(small: Api) -> None:
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert (await small.raw(head + chunk * 3 + b"0\r\n\r\n")).startswith(b"HTTP/1.1 413 ")


async def test_the_limit_counts_after_decompression(small: Api) -> None:
    bomb = gzip.compress(b" " * 50 * MIB)
    assert len(bomb) < 64 * 1024

    answer = await small.send("POST", "jobs", data=bomb, headers={"Content-Encoding": "gzip"})

    assert answer.refusal == (413, "payload_too_large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/0.9\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: \x00\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /api/v1/jobs HTTP/1.0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n{}",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /healthz?a=%ff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /healthz?a=\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/jobs?owner_service=%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/jobs?owner_service=%ED%A0%80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/jobs/%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_http_are_an_invalid_request(refusing: Api, request_bytes: bytes) -> None:
    answer = await refusing.raw(request_bytes)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ", b"HTTP/0.9 400 ")), answer
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "invalid_request"
    assert (await refusing.get("/healthz")).status == 200


async def test_a_head_may_have_up_to_32_kib(api: Api) -> None:
    for line, header in ((b"GET /healthz?" + b"a" * 32_000, b"a"), (b"GET /healthz", b"a" * 32_000)):
        head = line + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + header + b"\r\n\r\n"
        assert (await api.raw(head)).startswith(b"HTTP/1.1 200 ")


async def test_an_unknown_expectation_is_a_problem_too(api: Api) -> None:
    answer = await api.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: miracles\r\n\r\n")

    assert b"application/problem+json" in answer


async def test_a_request_may_expect_to_be_told_to_continue(api: Api) -> None:
    answer = await api.send("POST", "jobs", CHAT, headers={"Expect": "100-continue"})

    assert answer.status == 201


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1", True), ("x" * 200, True), ("x" * 201, False), ("a b", False), ("é", False)]
)
async def test_a_request_id_comes_back(refusing: Api, given: str, kept: bool) -> None:  # noqa: FBT001 - a parameter
    answer = await refusing.get("jobs/x", X_Request_Id=given)

    assert (answer.headers["X-Request-Id"] == given) is kept
    assert answer.problem["request_id"] == answer.headers["X-Request-Id"]


async def test_a_refusal_says_what_to_do(api: Api) -> None:
    job = await api.create(idempotency_key="k")

    refused = [
        await api.post("jobs", {**CHAT, "idempotency_key": "k", "priority": 2}),
        await api.post(f"jobs/{job['id']}/complete", {"result": 1, "attempt": 1}),
        await api.post(f"jobs/{job['id']}/retry"),
        await api.post(f"jobs/{job['id']}/cancel", If_Match='"old"'),
    ]

    assert [(answer.status, answer.problem["hint"]) for answer in refused] == [
        (422, "Repeat the request with the body of the first time, or choose a new key."),
        (409, "Drop the result: another attempt owns the job, or it is already finished."),
        (409, "It waits to be claimed already."),
        (412, "Read the job again and decide anew."),
    ]


async def test_a_refusal_without_advice_has_no_hint(refusing: Api) -> None:
    assert "hint" not in (await refusing.get("/nothing")).problem


async def test_every_answer_has_a_request_id(api: Api) -> None:
    first, second = await api.get("/healthz"), await api.get("jobs")

    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
