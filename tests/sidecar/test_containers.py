"""Containers through a fake of Docker's socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiserv.sidecar.containers import Containers
from aiserv.sidecar.sampler import SourceError
from tests.providers import Answer, body, refuses
from tests.sidecar.pages import PageServer, fake_server

pytestmark = pytest.mark.usefixtures("patient")

VLLM: dict[str, Any] = {
    "Id": "4c01db0b339c",
    "Names": ["/vllm"],
    "Image": "vllm/vllm-openai:v0.32.0",
    "ImageID": "sha256:f2e7",
    "Command": "vllm serve --api-key hunter2",
    "Labels": {"com.example.token": "hunter2"},
    "State": "running",
    "Status": "Up 2 hours (healthy)",
    "Mounts": [{"Source": "/srv/hunter2"}],
    "Config": {"Env": ["VLLM_API_KEY=hunter2"]},
}


@asynccontextmanager
async def docker(socket: Path, answer: Answer) -> AsyncIterator[PageServer]:
    async with fake_server({"/containers/json": answer}, unix=socket) as server:
        yield server


async def test_a_container_has_a_name_an_image_a_state_and_a_health(tmp_path: Path) -> None:
    async with docker(tmp_path / "docker", body(json.dumps([VLLM]))):
        rows = await Containers(tmp_path / "docker").sample()

    assert rows == [{"name": "vllm", "image": "vllm/vllm-openai:v0.32.0", "state": "running", "health": "healthy"}]


async def test_nothing_but_the_list_is_asked_for_so_no_environment_ever_comes(tmp_path: Path) -> None:
    async with docker(tmp_path / "docker", body(json.dumps([VLLM]))) as server:
        await Containers(tmp_path / "docker").sample()

    assert server.asked == ["/containers/json?all=true"]


async def test_no_secret_of_a_container_is_shown(tmp_path: Path) -> None:
    async with docker(tmp_path / "docker", body(json.dumps([VLLM]))):
        rows = await Containers(tmp_path / "docker").sample()

    assert "hunter2" not in str(rows)


@pytest.mark.parametrize(
    ("said", "health"),
    [
        ({"Status": "Up 5 seconds (health: starting)"}, "starting"),
        ({"Status": "Up 2 hours (unhealthy)"}, "unhealthy"),
        ({"Status": "Up 2 hours"}, None),
        ({"Status": "Up 2 hours (Paused)"}, None),
        ({"Status": "Exited (137) 3 days ago", "State": "exited"}, None),
        ({"Status": "Up 2 hours", "Health": {"Status": "unhealthy", "FailingStreak": 3}}, "unhealthy"),
        ({"Status": "Up 2 hours", "Health": {"Status": "none", "FailingStreak": 0}}, None),
        ({"Status": None}, None),
    ],
)
async def test_health_is_read_from_engines_old_and_new(
    tmp_path: Path, said: dict[str, Any], health: str | None
) -> None:
    async with docker(tmp_path / "docker", body(json.dumps([{**VLLM, **said}]))):
        (row,) = await Containers(tmp_path / "docker").sample()

    assert row["health"] == health


async def test_a_container_that_others_link_to_keeps_its_own_name(tmp_path: Path) -> None:
    linked = {**VLLM, "Names": ["/web/db", "/vllm"]}

    async with docker(tmp_path / "docker", body(json.dumps([linked]))):
        (row,) = await Containers(tmp_path / "docker").sample()

    assert row["name"] == "vllm"


async def test_containers_come_in_order_of_their_names(tmp_path: Path) -> None:
    several = [{**VLLM, "Names": [f"/{name}"]} for name in ("whisperx-2", "sidecar", "whisperx-1")]

    async with docker(tmp_path / "docker", body(json.dumps(several))):
        rows = await Containers(tmp_path / "docker").sample()

    assert [row["name"] for row in rows] == ["sidecar", "whisperx-1", "whisperx-2"]


@pytest.mark.parametrize("answer", [refuses(500, "hunter2"), body("hunter2"), body("{}")])
async def test_an_answer_that_is_no_list_is_an_error_that_repeats_nothing(tmp_path: Path, answer: Answer) -> None:
    async with docker(tmp_path / "docker", answer):
        with pytest.raises(SourceError, match="without a list") as raised:
            await Containers(tmp_path / "docker").sample()

    assert "hunter2" not in str(raised.value)


async def test_a_socket_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as raised:
        await Containers(tmp_path / "docker").sample()

    assert str(raised.value) == "Docker's socket: no such file or directory"
