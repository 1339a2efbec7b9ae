"""How the chat executor calls its provider: headers, deadlines, cancelling, one call each."""

import socket
import subprocess
import sys
from contextlib import ExitStack

import anyio
import pytest

from tests.providers import Answer, content, fake_provider, hangs, never_reads, trickles
from tests.waiting import SOON, let_pass
from tests.workers.chats import (
    HELLO,
    KEY,
    MIB,
    chat_at,
    chat_job,
    chat_with_provider,
    result_of,
)
from workers.executors import chat_client
from workers.failures import Failure


def printed_by(program: str, **env: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), **env},
    )
    return finished.stdout.strip()


async def test_the_key_and_the_trace_are_handed_on() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async with chat_with_provider() as (chat, provider):
        await chat(chat_job({"user": "Hi."}, traceparent=trace))

    assert provider.last.headers["Authorization"] == f"Bearer {KEY}"
    assert provider.last.headers["traceparent"] == trace


async def test_a_trace_that_would_break_the_request_is_left_out() -> None:
    async with chat_with_provider() as (chat, provider):
        await chat(chat_job({"user": "Hi."}, traceparent="00-1\r\nX-Evil: 1"))

    assert "traceparent" not in provider.last.headers
    assert "X-Evil" not in provider.last.headers


async def test_without_a_key_no_authorization_is_sent() -> None:
    async with chat_with_provider(api_key=None) as (chat, provider):
        await chat(HELLO)

    assert "Authorization" not in provider.last.headers


@pytest.mark.parametrize("api_key", [KEY, None])
async def test_no_setting_of_the_openai_package_is_read(api_key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_provider() as elsewhere:
        for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, elsewhere.base_url)
        for name in (
            "OPENAI_API_KEY",
            "OPENAI_ADMIN_KEY",
            "OPENAI_ORG_ID",
            "OPENAI_PROJECT_ID",
            "OPENAI_WEBHOOK_SECRET",
        ):
            monkeypatch.setenv(name, "ambient")
        monkeypatch.setenv(
            "OPENAI_CUSTOM_HEADERS",
            "X-Extra: ambient\nAuthorization: Bearer ambient\nuser-agent: ambient",
        )
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)

        async with chat_with_provider(api_key=api_key) as (chat, provider):
            await chat(HELLO)

    sent = provider.last.headers
    assert elsewhere.requests == []
    assert "ambient" not in str(sent)
    assert not any(name.lower().startswith("openai-") for name in sent)
    assert sent.get("Authorization") == (f"Bearer {api_key}" if api_key else None)


def test_a_key_that_no_header_can_carry_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="API key") as raised:
        chat_at("http://127.0.0.1/v1", api_key="ключ")

    assert "ключ" not in str(raised.value)


def test_openai_is_imported_only_when_an_executor_is_entered() -> None:
    printed = printed_by("import sys, workers.executors.chat; print('openai' in sys.modules)")

    assert printed == "False"


def test_openai_logs_nothing_that_it_sends_whatever_its_environment_says() -> None:
    printed = printed_by(
        "import logging, workers.executors.chat_client;print(logging.getLogger('openai').isEnabledFor(logging.INFO))",
        OPENAI_LOG="debug",
    )

    assert printed == "False"


@pytest.mark.parametrize("answer", [hangs(), trickles()])
async def test_a_provider_that_does_not_come_to_an_end_is_left_at_the_deadline_of_the_job(answer: Answer) -> None:
    failures: list[Failure] = []

    async def fail() -> None:
        with pytest.raises(Failure) as raised:
            await chat(chat_job({"user": "Hello?"}, timeout=600))
        failures.append(raised.value)

    async with chat_with_provider(answer) as (chat, provider), anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        with anyio.fail_after(SOON):
            await provider.called()
        let_pass(590)
        await anyio.wait_all_tasks_blocked()
        assert failures == []

        let_pass(10)
        with anyio.fail_after(SOON):
            await provider.disconnected()

    assert [(failure.category, failure.retryable) for failure in failures] == [("timeout", True)]
    assert len(provider.requests) == 1


async def test_a_job_without_a_limit_has_that_of_the_executor() -> None:
    async with fake_provider() as provider, chat_at(provider.base_url, timeout=0.3) as chat:
        provider.answers(hangs())
        with anyio.fail_after(SOON), pytest.raises(Failure) as raised:
            await chat(HELLO)

    assert raised.value.category == "timeout"


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's advice to openai
async def test_a_provider_that_never_reads_ends_at_the_deadline() -> None:
    async with chat_with_provider(never_reads()) as (chat, _):
        with anyio.fail_after(SOON), pytest.raises(Failure) as raised:
            await chat(chat_job({"user": "x" * 16 * MIB}, timeout=1))

    assert raised.value.category == "timeout"


async def test_an_error_that_trickles_ends_at_the_deadline() -> None:
    async with chat_with_provider(trickles(status=500)) as (chat, _):
        with anyio.fail_after(SOON), pytest.raises(Failure) as raised:
            await chat(chat_job({"user": "Hello?"}, timeout=0.3))

    assert raised.value.category == "timeout"


@pytest.mark.parametrize("answer", [hangs(), trickles(), trickles(status=500)])
async def test_cancelling_closes_the_connection_to_the_provider(answer: Answer) -> None:
    async with chat_with_provider(answer) as (chat, provider):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chat, HELLO)
            with anyio.fail_after(SOON):
                await provider.called()
            tasks.cancel_scope.cancel()

        with anyio.fail_after(SOON):
            await provider.disconnected()

    assert len(provider.requests) == 1
    assert provider.in_progress == 0


async def test_one_cancelled_call_leaves_the_others_alone() -> None:
    async with (
        chat_with_provider(hangs(), content("Hello.")) as (chat, provider),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(chat, HELLO)
        with anyio.fail_after(SOON):
            await provider.called()
            outcome = await chat(HELLO)
        tasks.cancel_scope.cancel()

    assert result_of(outcome)["content"] == "Hello."


async def test_a_connection_is_not_kept_for_the_next_call() -> None:
    async with chat_with_provider() as (chat, provider):
        await chat(HELLO)
        await chat(HELLO)

    assert len({received.peer for received in provider.requests}) == 2


async def test_a_port_that_accepts_and_says_nothing_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with chat_at(f"http://127.0.0.1:{server.getsockname()[1]}/v1", timeout=0.3) as chat:
            with anyio.fail_after(SOON), pytest.raises(Failure) as raised:
                await chat(HELLO)

    assert raised.value.category == "timeout"


async def test_an_address_that_does_not_accept_is_unavailable_long_before_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_client, "CONNECT_SECONDS", 0.3)
    with ExitStack() as sockets:
        server = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # Linux answers no further handshake while this one waits to be accepted.
        sockets.enter_context(socket.create_connection(server.getsockname()))
        async with chat_at(f"http://127.0.0.1:{server.getsockname()[1]}/v1") as chat:
            with anyio.fail_after(SOON), pytest.raises(Failure) as raised:
                await chat(HELLO)

    assert raised.value.category == "provider_unavailable"
