"""How a chat job fails when its provider, or the way to it, does not work."""

from datetime import timedelta

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from tests.providers import Answer, body, content, drops, fake_provider, refuses
from tests.workers.chats import HELLO, KEY, chat_at, failure_of
from workers.failures import Failure

VLLM_OVERFLOW = (
    "You passed 1015 input tokens and requested 10 output tokens. However, the model's context "
    "length is only 1024 tokens, resulting in a maximum input length of 1014 tokens. Please reduce "
    "the length of the input prompt. (parameter=input_tokens, value=1015)"
)


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        (refuses(400, "Grammar error: invalid schema"), "invalid_input"),
        (
            refuses(422, {"detail": [{"loc": ["body", "stop"], "msg": "Input should be …"}]}),
            "invalid_input",
        ),
        (refuses(413, "Request Entity Too Large"), "invalid_input"),
        (refuses(501, "only base64 data URLs are supported"), "invalid_input"),
        (refuses(401, {"error": "Unauthorized"}), "unauthorized"),
        (refuses(403, "no access"), "unauthorized"),
        (refuses(402, "Insufficient Balance"), "unauthorized"),
        (
            refuses(
                404,
                {
                    "error": {
                        "message": "The model `qwen` does not exist.",
                        "type": "NotFoundError",
                        "param": "model",
                        "code": 404,
                    }
                },
            ),
            "model_not_found",
        ),
        (refuses(404, 'model "qwen" not found, try pulling it first'), "model_not_found"),
        (
            refuses(400, {"object": "error", "message": "?", "code": "model_not_found"}),
            "model_not_found",
        ),
        (refuses(404, {"detail": "Not Found"}), "provider_unavailable"),
        (body("404 page not found", status=404), "provider_unavailable"),
        (body("", status=302, headers={"Location": "/login"}), "provider_unavailable"),
        (
            refuses(
                400,
                {
                    "error": {
                        "message": VLLM_OVERFLOW,
                        "type": "BadRequestError",
                        "param": "input_tokens",
                        "code": 400,
                    }
                },
            ),
            "context_length_exceeded",
        ),
        (
            refuses(
                400,
                {
                    "object": "error",
                    "message": "This model's maximum context length is 4096 tokens. However, …",
                    "param": None,
                    "code": 400,
                },
            ),
            "context_length_exceeded",
        ),
        (
            refuses(400, {"error": {"type": "exceed_context_size_error", "message": "…"}}),
            "context_length_exceeded",
        ),
        (refuses(429, "slow down"), "rate_limited"),
        (refuses(503, "engine is currently busy"), "provider_unavailable"),
        (body("<h1>502 Bad Gateway</h1>", status=502), "provider_unavailable"),
        (
            refuses(
                500,
                {
                    "error": {
                        "message": "EngineCore encountered an issue. See stack trace (above).",
                        "type": "InternalServerError",
                        "code": 500,
                    }
                },
            ),
            "provider_unavailable",
        ),
        (refuses(500, "Internal Server Error"), "provider_error"),
        (body("", status=500), "provider_error"),
        (body("[" * 50_000, status=500), "provider_error"),
        (refuses(529, "overloaded"), "provider_error"),
        (refuses(408, "too slow"), "timeout"),
        (refuses(504, "too slow"), "timeout"),
        (drops(), "provider_unavailable"),
        (drops(after=b'{"choices":'), "provider_unavailable"),
    ],
)
async def test_the_cause_decides_the_category(answer: Answer, category: str) -> None:
    failure = await failure_of(HELLO, answer)

    assert failure.category == category


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1/v1", "http://no-such-host.invalid/v1"])
async def test_a_provider_that_cannot_be_reached_is_unavailable(base_url: str) -> None:
    async with chat_at(base_url) as chat:
        with pytest.raises(Failure) as raised:
            await chat(HELLO)

    assert raised.value.category == "provider_unavailable"


async def test_a_server_that_does_not_speak_http_gives_an_invalid_response() -> None:
    async def greet(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"220 mail.example.com ESMTP\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra_attributes[SocketAttribute.local_port]()
        async with (
            chat_at(f"http://127.0.0.1:{port}/v1") as chat,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, greet)
            with pytest.raises(Failure) as raised:
                await chat(HELLO)
            tasks.cancel_scope.cancel()

    assert raised.value.category == "invalid_response"


async def test_the_provider_says_what_it_did_not_like() -> None:
    failure = await failure_of(HELLO, refuses(400, "seed: must be at least 0"))

    assert failure.message == "the provider answered 400 Bad Request: seed: must be at least 0"


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_in_seconds(status: int) -> None:
    failure = await failure_of(HELLO, refuses(status, "later", headers={"Retry-After": "7"}))

    assert failure.provider_trouble
    assert failure.retry_after == timedelta(seconds=7)


async def test_retry_after_is_honoured_as_a_date_on_the_clock_of_the_provider() -> None:
    headers = {
        "Date": "Tue, 09 Jun 2026 08:49:12 GMT",
        "Retry-After": "Tue, 09 Jun 2026 08:50:12 GMT",
    }

    failure = await failure_of(HELLO, refuses(429, "later", headers=headers))

    assert failure.retry_after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("said", "retry_after"),
    [
        (None, None),
        ("soon", None),
        ("nan", None),
        ("-5", timedelta(0)),
        ("1.5", timedelta(seconds=1.5)),
        ("Tue, 09 Jun 1998 08:49:12 GMT", timedelta(0)),
        ("9" * 30, timedelta(days=1)),
    ],
)
async def test_a_strange_retry_after_does_no_harm(said: str | None, retry_after: timedelta | None) -> None:
    headers = {} if said is None else {"Retry-After": said}

    failure = await failure_of(HELLO, refuses(429, "later", headers=headers))

    assert failure.category == "rate_limited"
    assert failure.retry_after == retry_after


@pytest.mark.parametrize(
    "answer",
    [
        refuses(400, f"you sent {KEY} and Bearer other-token"),
        refuses(401, {"error": f"got {KEY}, expected other-token"}),
        refuses(500, f"header was 'Authorization: Bearer other-token' not {KEY}"),
        body(f"<p>{KEY}</p> Bearer other-token"),
        content(None, refusal=f"I will not tell {KEY} or Bearer other-token"),
    ],
)
async def test_no_secret_leaves_in_a_message(answer: Answer) -> None:
    failure = await failure_of(HELLO, answer)

    assert KEY not in str(failure)
    assert KEY not in repr(failure)
    assert "other-token" not in str(failure)


async def test_nul_and_lone_surrogates_of_an_error_are_replaced() -> None:
    failure = await failure_of(HELLO, refuses(400, "a\x00b\ud83d"))

    assert failure.message.endswith("a\ufffdb\ufffd")


async def test_a_redirect_is_not_followed() -> None:
    async with fake_provider() as elsewhere:
        location = {"Location": f"{elsewhere.base_url}/chat/completions"}

        failure = await failure_of(HELLO, body("", status=307, headers=location))

    assert failure.category == "provider_unavailable"
    assert elsewhere.requests == []
