"""The AI server's compose files keep what their README and the contract promise."""

from pathlib import Path

import pytest

from aiserv.settings import Settings
from tests.deploy.compose import compose, said, used

FOLDER = Path(__file__).parents[2] / "deploy" / "ai-server"
README = (FOLDER / "README.md").read_text()
FILES = ("docker-compose.yml", "docker-compose.audio.yml")
GIB_OF_80_GB = 79.2
WHISPERX_GIB = 9.5


PRODUCTION = compose(FOLDER / FILES[0])["services"]
AUDIO = compose(FOLDER / FILES[1])["services"]
SERVICES = {**PRODUCTION, **AUDIO}


def flags(service: str) -> dict[str, str]:
    """The arguments of vLLM by name; the model is under the empty one."""
    model, *rest = SERVICES[service]["command"]
    return {"": model, **dict(argument.removeprefix("--").split("=", 1) for argument in rest)}


def port(service: str) -> int:
    """The port on the outside."""
    (published,) = SERVICES[service]["ports"]
    return int(published.split(":")[-2])


def share(service: str) -> float:
    """How much of a GPU with 80 GB it may have."""
    return WHISPERX_GIB / GIB_OF_80_GB if "whisperx" in service else float(flags(service)["gpu-memory-utilization"])


def test_production_is_a_language_model_two_transcribers_and_the_sidecar() -> None:
    assert set(PRODUCTION) == {"vllm", "whisperx-1", "whisperx-2", "sidecar"}
    assert not any("profiles" in service for service in PRODUCTION.values())


@pytest.mark.parametrize("service", ["qwen-audio", "voxtral-small"])
def test_an_audio_model_is_started_by_its_profile_and_nothing_else(service: str) -> None:
    assert set(AUDIO) == {"qwen-audio", "voxtral-small"}
    assert AUDIO[service]["profiles"] == [service]


@pytest.mark.parametrize("service", ["qwen-audio", "voxtral-small"])
def test_the_command_that_starts_an_audio_model_is_in_the_readme(service: str) -> None:
    command = f"docker compose -f {FILES[0]} -f {FILES[1]} --profile {service} up -d {service}"

    assert f"$ {command}\n" in README
    assert f"#   {command}\n" in (FOLDER / FILES[1]).read_text()


def test_every_service_has_a_port_of_its_own() -> None:
    ports = {service: port(service) for service in SERVICES}

    assert ports == {
        "vllm": 8000,
        "whisperx-1": 8001,
        "whisperx-2": 8002,
        "qwen-audio": 8003,
        "voxtral-small": 8004,
        "sidecar": 8090,
    }


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_listens_on_all_addresses_unless_told(service: str) -> None:
    assert SERVICES[service]["ports"][0].startswith("127.0.0.1:")


@pytest.mark.parametrize("service", ["vllm", "qwen-audio", "voxtral-small"])
def test_vllm_listens_where_its_port_leads(service: str) -> None:
    assert SERVICES[service]["entrypoint"] == ["vllm", "serve"]
    assert flags(service)["port"] == SERVICES[service]["ports"][0].split(":")[-1]


def test_the_models_are_those_that_aiserv_asks_for_by_default() -> None:
    settings = Settings.load({})

    assert flags("vllm")["served-model-name"] == settings.llm.model
    assert flags("qwen-audio")[""] == settings.transcription.qwen_audio_model
    assert flags("voxtral-small")[""] == settings.transcription.voxtral_model


def test_voxtral_is_read_in_the_forms_of_mistral() -> None:
    given = flags("voxtral-small")

    assert {given[f"{form}"] for form in ("tokenizer-mode", "config-format", "load-format")} == {"mistral"}


@pytest.mark.parametrize("service", AUDIO)
def test_an_audio_model_has_a_decoder_of_the_same_version(service: str) -> None:
    image, install = AUDIO[service]["build"]["dockerfile_inline"].splitlines()
    version = AUDIO[service]["image"].partition(":")[2]

    assert image == f"FROM {PRODUCTION['vllm']['image']}" == f"FROM vllm/vllm-openai:v{version}"
    assert install == f"RUN uv pip install --system 'vllm[audio]=={version}'"


@pytest.mark.parametrize("service", AUDIO)
def test_a_piece_of_audio_and_the_longest_answer_fit_into_the_context(service: str) -> None:
    audio_tokens = {"qwen-audio": 750, "voxtral-small": 7_500}[service]
    answer = Settings.load({}).transcription.audio_llm_max_tokens

    assert int(flags(service)["max-model-len"]) > audio_tokens + answer
    assert flags(service)["limit-mm-per-prompt"] == '{"audio": 1}'


@pytest.mark.parametrize(
    "together",
    [
        ("vllm", "whisperx-1", "whisperx-2", "qwen-audio"),
        ("whisperx-1", "whisperx-2", "voxtral-small"),
    ],
)
def test_what_is_said_to_fit_on_80_gb_fits(together: tuple[str, ...]) -> None:
    assert sum(map(share, together)) < 0.97


def test_voxtral_and_the_language_model_do_not_fit_on_80_gb_and_the_readme_says_so() -> None:
    assert share("vllm") + share("voxtral-small") > 1
    assert "docker compose stop vllm" in README


def test_a_cache_holds_a_request_of_full_length() -> None:
    # GiB of weights, and bytes of cache for a token: 2 (key, value) x layers x heads x width x 2 (bf16).
    models = {
        "vllm": (27.5, 2 * 48 * 8 * 128 * 2),
        "qwen-audio": (15.6, 2 * 32 * 32 * 128 * 2),
        "voxtral-small": (45.3, 2 * 40 * 8 * 128 * 2),
    }

    for service, (weights, per_token) in models.items():
        cache = int(flags(service)["max-model-len"]) * per_token / 1024**3
        assert weights + cache + 2 < share(service) * GIB_OF_80_GB


@pytest.mark.parametrize("service", ["vllm", *AUDIO])
def test_no_key_is_an_argument_that_docker_shows(service: str) -> None:
    assert "api-key" not in flags(service)
    assert "VLLM_API_KEY" in SERVICES[service]["environment"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_a_gpu_a_health_check_and_comes_back(service: str) -> None:
    (device,) = SERVICES[service]["deploy"]["resources"]["reservations"]["devices"]

    assert device["driver"] == "nvidia"
    assert "gpu" in device["capabilities"]
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[service]["restart"] == "unless-stopped"


def test_the_sidecar_asks_every_model_server_and_may_only_read() -> None:
    sidecar = PRODUCTION["sidecar"]
    given = {name: str(value) for name, value in sidecar["environment"].items()}
    settings = Settings.load({**given, "SIDECAR_TOKEN": "right"}).sidecar

    assert settings.vllm_urls == tuple(
        f"http://{name}:{port(name)}" for name in ("vllm", "qwen-audio", "voxtral-small")
    )
    assert settings.whisperx_urls == ("http://whisperx-1:9000", "http://whisperx-2:9000")
    assert settings.http_port == port("sidecar")
    assert sidecar["command"] == ["sidecar"]
    assert sidecar["volumes"] == [f"{settings.docker_socket}:{settings.docker_socket}:ro"]
    assert sidecar["read_only"] is True
    assert sidecar["cap_drop"] == ["ALL"]


def test_every_variable_is_in_the_example_with_its_default() -> None:
    assert said(FOLDER / ".env.example") == used(*(FOLDER / file for file in FILES))


@pytest.mark.parametrize("variable", Settings.model_fields["sidecar"].annotation.model_fields)  # type: ignore[union-attr]  # a model
def test_every_setting_of_the_sidecar_is_in_the_readme(variable: str) -> None:
    assert f"`SIDECAR_{variable.upper()}`" in README


@pytest.mark.parametrize("service", SERVICES)
def test_the_readme_names_every_service_and_its_port(service: str) -> None:
    assert f"`{service}`" in README
    assert str(port(service)) in README
