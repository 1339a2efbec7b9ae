"""The AI side over HTTP: model servers and the sidecar."""

from aiohttp import ClientSession

from aiserv.answers.ai import InfraAnswer, ProvidersAnswer
from aiserv.stand_in import stand_in_provider
from tests.api.client import Api
from tests.api.conftest import Start


async def test_the_stand_in_says_in_the_status_that_it_is_no_model(start: Start, session: ClientSession) -> None:
    async with stand_in_provider("qwen2.5-14b") as base_url:
        api = Api(session, start(LLM_BASE_URL=base_url).port)

        answer = await api.get("/api/v1/providers/status")

    providers = {provider["name"]: provider for provider in answer.json["providers"]}
    ProvidersAnswer.model_validate(answer.json)
    assert answer.status == 200
    assert providers["llm"]["status"] == "ok"
    assert "no model" in providers["llm"]["model"]
    assert providers["whisperx"]["status"] == "not_configured"


async def test_a_provider_that_is_down_is_shown_as_down(start: Start, session: ClientSession) -> None:
    api = Api(session, start(LLM_BASE_URL="http://127.0.0.1:9").port)

    answer = await api.get("/api/v1/providers/status")

    assert answer.status == 200
    assert answer.json["providers"][0]["status"] == "down"


async def test_without_a_sidecar_only_that_is_said(api: Api) -> None:
    answer = await api.get("/api/v1/infra/status")

    assert (answer.status, answer.json) == (200, {"configured": False})


async def test_a_sidecar_that_does_not_answer_is_no_error_of_ours(start: Start, session: ClientSession) -> None:
    api = Api(session, start(INFRA_STATUS_URL="http://127.0.0.1:9", INFRA_STATUS_TOKEN="secret").port)

    answer = await api.get("/api/v1/infra/status")

    assert answer.status == 200
    assert (answer.json["configured"], answer.json["available"]) == (True, False)
    assert answer.json["error"]
    InfraAnswer.model_validate(answer.json)
