"""Recordings are fetched from where they may be, within limits, and nowhere else."""

import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult
from pydantic import JsonValue

from tests.waiting import SOON, let_pass
from workers.audio.addresses import AllowedHosts
from workers.audio.sources import SILENT_SECONDS, Limits, Source, stored
from workers.failures import Failure

AUDIO = b"RIFF" + bytes(range(256)) * 40
HERE = Limits(max_bytes=20_000, hosts=AllowedHosts((ip_network("127.0.0.0/8"),)))
ANYWHERE = Limits(max_bytes=20_000)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def audio(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=AUDIO, content_type="audio/wav")


@asynccontextmanager
async def server(**routes: Handler) -> AsyncIterator[str]:
    app = web.Application()
    for name, handler in {"audio": audio, **routes}.items():
        app.router.add_get(f"/{name}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def redirect(location: str) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location})

    return handler


def says(status: int = 200, content: bytes = AUDIO, **headers: str) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=content, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


async def fetched(limits: Limits = HERE, /, **job_input: JsonValue) -> tuple[bytes, str]:
    async with stored(Source.parse(job_input), limits) as (path, kind):
        return path.read_bytes(), kind


async def refused(limits: Limits = HERE, /, **job_input: JsonValue) -> Failure:
    with pytest.raises(Failure) as raised:
        await fetched(limits, **job_input)
    return raised.value


async def test_a_recording_is_fetched_and_gone_afterwards() -> None:
    async with server() as url, stored(Source.parse({"audio_url": f"{url}/audio"}), HERE) as (path, _):
        content = path.read_bytes()

    assert content == AUDIO
    assert not path.parent.exists()


async def test_redirects_are_followed() -> None:
    async with server(first=redirect("/second"), second=redirect("audio")) as url:
        content, _ = await fetched(audio_url=f"{url}/first")

    assert content == AUDIO


@pytest.mark.parametrize(
    "encoded",
    [
        base64.b64encode(AUDIO).decode(),
        base64.urlsafe_b64encode(AUDIO).decode(),
        base64.b64encode(AUDIO).decode().rstrip("="),
        base64.encodebytes(AUDIO).decode(),
    ],
)
async def test_base64_of_any_flavour_is_decoded(encoded: str) -> None:
    content, _ = await fetched(audio_base64=encoded)
    from_url, _ = await fetched(audio_url=f"data:audio/wav;base64,{encoded}")

    assert content == from_url == AUDIO


async def test_a_data_url_may_be_percent_encoded() -> None:
    content, kind = await fetched(audio_url="data:audio/PCMA,RIFF%00%ff")

    assert content == b"RIFF\x00\xff"
    assert kind == "alaw"


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ({"filename": "call.al"}, "al"),
        ({"filename": "../../etc/CALL.ULAW"}, "ulaw"),
        ({"content_type": "audio/PCMU; rate=8000"}, "ulaw"),
        ({"content_type": "audio/wav"}, ""),
        ({"filename": "call.$(rm)"}, ""),
    ],
)
async def test_what_the_recording_is_called_is_a_hint(named: dict[str, str], kind: str) -> None:
    _, told = await fetched(audio_base64="UklGRg==", **named)

    assert told == kind


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/audio",
        "http://localhost:{port}/audio",
        "http://2130706433:{port}/audio",
        "http://0x7f000001:{port}/audio",
        "http://127.1:{port}/audio",
        "http://[::ffff:127.0.0.1]:{port}/audio",
        "http://[::1]:{port}/audio",
        "http://0.0.0.0:{port}/audio",
    ],
)
async def test_without_a_list_the_machine_itself_is_out_of_reach(url: str) -> None:
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(body=AUDIO)

    async with server(audio=handler) as at:
        port = at.rpartition(":")[2]
        failure = await refused(ANYWHERE, audio_url=url.format(port=port))

    # Some spellings of an address are no URL to begin with.
    assert failure.category in ("audio_unavailable", "invalid_input")
    assert asked == []


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["203.0.113.9", "127.0.0.1"], ["::ffff:127.0.0.1"], ["::1"]])
async def test_what_a_name_means_is_judged_when_it_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    """A name server that says what it likes, and the next time something else."""
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(body=AUDIO)

    async def resolve(_self: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        address = answers[min(len(resolved), len(answers) - 1)]
        resolved.append(address)
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

    resolved: list[str] = []
    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    monkeypatch.setattr("workers.audio.sources.CONNECT_SECONDS", 0.5)
    async with server(audio=handler) as at:
        url = f"http://rebinds.example:{at.rpartition(':')[2]}/audio"
        failures = [await refused(ANYWHERE, audio_url=url) for _ in answers]

    assert resolved[-1] == answers[-1]
    assert {failure.category for failure in failures} == {"audio_unavailable"}
    assert asked == []


async def test_a_redirect_is_judged_like_the_first_address() -> None:
    only_localhost = Limits(hosts=AllowedHosts(("localhost",)))
    async with server() as url:
        port = url.rpartition(":")[2]
        async with server(away=redirect(f"{url}/audio"), back=redirect(f"http://localhost:{port}/audio")) as start:
            by_name = start.replace("127.0.0.1", "localhost")
            content, _ = await fetched(only_localhost, audio_url=f"{by_name}/back")
            failure = await refused(only_localhost, audio_url=f"{by_name}/away")

    assert content == AUDIO
    assert failure.category == "audio_unavailable"
    assert "127.0.0.1" in failure.message


UNAVAILABLE = {
    "not_found": says(404),
    "broken": says(500),
    "a_part": says(206),
    "empty": says(content=b""),
    "compressed": says(Content_Encoding="gzip"),
    "a_loop": redirect("/a_loop"),
    "a_file": redirect("file:///etc/passwd"),
    "nonsense": redirect("http://[::1"),
}


@pytest.mark.parametrize("name", UNAVAILABLE)
async def test_what_cannot_be_fetched_is_unavailable_and_its_url_stays_secret(name: str) -> None:
    async with server(**UNAVAILABLE) as url:
        failure = await refused(audio_url=f"{url}/{name}?signature=secret")

    assert failure.category == "audio_unavailable"
    assert "secret" not in failure.message


async def test_a_recording_that_is_declared_too_large_is_refused() -> None:
    async with server(large=says(content=bytes(20_001))) as url:
        failure = await refused(audio_url=f"{url}/large")

    assert failure.category == "unsupported_audio"


async def test_a_recording_without_a_declared_length_is_cut_off_at_the_limit() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(10_000))
            sent += 10_000

    async with server(endless=endless) as url:
        with anyio.fail_after(SOON):
            failure = await refused(audio_url=f"{url}/endless")

    assert failure.category == "unsupported_audio"


async def test_a_download_that_breaks_off_does_not_pass_for_a_whole_one() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(AUDIO))})
        await response.prepare(request)
        await response.write(AUDIO[:1000])
        assert request.transport is not None
        request.transport.abort()
        return response

    async with server(half=half) as url:
        failure = await refused(audio_url=f"{url}/half")

    assert failure.category == "audio_unavailable"


@pytest.mark.parametrize("begins", [True, False])
async def test_a_download_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch, *, begins: bool) -> None:
    monkeypatch.setattr("workers.audio.sources.SILENT_SECONDS", 0.2)

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(AUDIO))})
        if begins:
            await response.prepare(request)
            await response.write(AUDIO[:1000])
        await anyio.sleep_forever()
        return response

    async with server(silent=silent) as url:
        with anyio.fail_after(SOON):
            failure = await refused(audio_url=f"{url}/silent")

    assert (failure.category, "does not answer" in failure.message) == ("audio_unavailable", True)


async def test_a_slow_download_is_not_silent() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(AUDIO))})
        await response.prepare(request)
        for start in range(0, len(AUDIO), 1000):
            # All of it takes longer than it may be silent; what was sent is read first.
            await anyio.wait_all_tasks_blocked()
            let_pass(SILENT_SECONDS / 3)
            await response.write(AUDIO[start : start + 1000])
        return response

    async with server(slow=slow) as url:
        content, _ = await fetched(audio_url=f"{url}/slow")

    assert content == AUDIO


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a", "http://no-such-host.invalid/a"])
async def test_a_server_that_cannot_be_reached_makes_the_recording_unavailable(url: str) -> None:
    failure = await refused(audio_url=url)

    assert failure.category == "audio_unavailable"


@pytest.mark.parametrize("url", ["http://", "https:///a", "http://user@:80/", "http://a b/", "http://h:99999/"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    failure = await refused(audio_url=url)

    assert failure.category in ("invalid_input", "audio_unavailable")


async def test_base64_that_is_too_large_is_refused() -> None:
    failure = await refused(audio_base64=base64.b64encode(bytes(20_001)).decode())

    assert failure.category == "unsupported_audio"


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async with server() as url:
        content, _ = await fetched(audio_url=f"{url}/audio")

    assert content == AUDIO


async def test_the_folder_is_removed_also_when_the_fetch_is_cancelled(tmp_path: Path) -> None:
    arrived = anyio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        arrived.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with server(hang=hang) as url, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: fetched(audio_url=f"{url}/hang"))
        with anyio.fail_after(SOON):
            await arrived.wait()
        tasks.cancel_scope.cancel()
