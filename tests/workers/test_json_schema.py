"""JSON that fits a schema: checked on arrival, by a process that a hostile schema cannot hold for long."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import anyio
import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest
from pydantic import JsonValue

from aiserv.models import Job
from tests.processes import children
from tests.providers import USAGE, content, fake_provider
from tests.waiting import until
from tests.workers.chats import chat_job, chat_with_provider, failure_of, result_of
from workers.executors import json_schema, json_schema_checker
from workers.executors.json_schema import SchemaChecks
from workers.failures import Failure

LINES: JsonValue = {
    "type": "object",
    "properties": {"lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
    "required": ["lines"],
    "additionalProperties": False,
    "$defs": {"line": {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}},
}
# Backtracks for longer than anybody waits.
BOMB: JsonValue = {"pattern": "^(a+)+$"}
BOMBED = json.dumps("a" * 60 + "!")


def asking_for(schema: JsonValue) -> Job:
    named: JsonValue = {"name": "answer", "schema": schema}
    return chat_job({"user": "Hello?", "response_format": {"type": "json_schema", "json_schema": named}})


async def test_an_answer_that_fits_its_schema_is_the_result() -> None:
    said = '{"lines": [{"price": 1.50}, {"price": 2}]}'

    async with chat_with_provider(content(said)) as (chat, provider):
        outcome = await chat(asking_for(LINES))

    assert result_of(outcome)["content"] == said
    assert isinstance(provider.last.json, dict)
    assert provider.last.json["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": LINES},
    }


async def test_an_answer_that_does_not_fit_is_an_invalid_response_that_names_the_place() -> None:
    failure = await failure_of(asking_for(LINES), content('{"lines": [{"price": 1}, {"price": "two"}]}'))

    assert (failure.category, failure.retryable, failure.usage) == ("invalid_response", True, USAGE)
    assert "$.lines[1].price: 'two' is not of type 'number'" in failure.message


async def test_an_answer_that_was_cut_before_it_fits_is_truncated() -> None:
    failure = await failure_of(asking_for(LINES), content("{}", finish_reason="length"))

    assert (failure.category, failure.usage) == ("output_truncated", USAGE)
    assert "'lines' is a required property" in failure.message


async def test_calls_of_tools_fit_no_schema_and_need_not() -> None:
    calls: JsonValue = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]

    async with chat_with_provider(content(None, tool_calls=calls)) as (chat, _):
        outcome = await chat(asking_for(LINES))

    assert result_of(outcome)["tool_calls"] == calls


async def test_without_a_schema_any_json_will_do() -> None:
    job = chat_job({"user": "Hello?", "response_format": {"type": "json_schema", "json_schema": {"name": "any"}}})

    async with chat_with_provider(content("[1]")) as (chat, _):
        assert result_of(await chat(job))["content"] == "[1]"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("object", "an object"),
        ({"type": "strin"}, "$.type: 'strin'"),
        ({"pattern": "("}, "$.pattern: '(' is not a 'regex'"),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}}, "refers to /$defs/a"),
        ({"$ref": "file:///etc/passwd"}, "refers to file:///etc/passwd"),
        ({"$ref": "#"}, "refers to itself without end"),
        ({"$schema": ["?"]}, "cannot be applied"),
    ],
)
async def test_a_bad_schema_is_refused_before_the_provider_is_asked(schema: JsonValue, said: str) -> None:
    async with chat_with_provider() as (chat, provider):
        with pytest.raises(Failure) as raised:
            await chat(asking_for(schema))

    assert raised.value.category == "invalid_input"
    assert raised.value.message.startswith("input.response_format.json_schema")
    assert said in raised.value.message
    assert provider.requests == []


async def test_what_a_schema_refers_to_is_never_fetched() -> None:
    async with fake_provider() as elsewhere, chat_with_provider() as (chat, provider):
        elsewhere.answers(content("{}"))
        with pytest.raises(Failure) as raised:
            await chat(asking_for({"properties": {"a": {"$ref": f"{elsewhere.base_url}/schema.json"}}}))

    assert raised.value.category == "invalid_input"
    assert (elsewhere.requests, provider.requests) == ([], [])


async def test_a_schema_may_refer_to_those_of_json_schema_itself() -> None:
    schema: JsonValue = {"properties": {"a": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}}

    failure = await failure_of(asking_for(schema), content('{"a": {"type": "strin"}}'))

    assert "$.a.type" in failure.message


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of CPU time, which passes as fast on a busy machine.
    monkeypatch.setattr(json_schema, "CPU_SECONDS", 1.0)


@pytest.mark.usefixtures("hurried")
async def test_a_schema_that_takes_too_long_fails_its_job_and_holds_up_no_other() -> None:
    async with chat_with_provider(content(BOMBED), content('{"lines": []}')) as (chat, _):
        with pytest.raises(Failure) as raised:
            await chat(asking_for(BOMB))
        outcome = await chat(asking_for(LINES))

    assert (raised.value.category, raised.value.usage) == ("invalid_input", USAGE)
    assert "takes more than 1 s of CPU time" in raised.value.message
    assert result_of(outcome)["content"] == '{"lines": []}'


@pytest.mark.usefixtures("hurried")
async def test_while_the_machine_stands_still_no_time_of_a_check_passes() -> None:
    checks = SchemaChecks()
    await checks.flaw("{}", None)
    (checker,) = checkers()
    flaws = []

    async def check() -> None:
        flaws.append(await checks.flaw(json.dumps(LINES), "[]"))

    checker.suspend()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(check)
        # Longer than a check may compute.
        await anyio.sleep(1.2 * json_schema.CPU_SECONDS)
        assert flaws == []
        checker.resume()

    assert flaws == ["$: [] is not of type 'object'"]
    await checks.close()


async def test_a_machine_that_stands_still_for_too_long_is_no_fault_of_the_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = SchemaChecks()
    await checks.flaw("{}", None)
    (checker,) = checkers()
    checker.suspend()

    with monkeypatch.context() as hurried:
        hurried.setattr(json_schema, "CHECK_SECONDS", 0.1)
        with pytest.raises(Failure) as raised:
            await checks.flaw("{}", "1")

    # Another attempt may do better.
    assert (raised.value.category, raised.value.retryable) == ("internal", True)
    assert await checks.flaw("{}", "1") is None
    await checks.close()


@pytest.mark.usefixtures("hurried")
async def test_a_schema_of_exponential_references_is_bounded() -> None:
    steps: dict[str, JsonValue] = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    schema: JsonValue = {"$defs": {**steps, "d40": {"const": 7}}, "$ref": "#/$defs/d0"}

    async with chat_with_provider() as (chat, provider):
        with pytest.raises(Failure, match="of CPU time"):
            await chat(asking_for(schema))

    assert provider.requests == []


async def test_a_cancelled_check_ends_its_process_and_the_next_one_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    # It computes while we stand still.
    monkeypatch.setattr(json_schema, "CPU_SECONDS", 3600.0)
    checks = SchemaChecks()
    await checks.flaw(json.dumps(BOMB), None)
    (bombed,) = checkers()
    before = bombed.cpu_times().user

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(checks.flaw, json.dumps(BOMB), BOMBED)
        # That it runs would not do: it may not have gone to sleep yet since the answer before.
        await until(lambda: bombed.cpu_times().user >= before + 0.2)
        tasks.cancel_scope.cancel()

    assert not bombed.is_running()
    assert await checks.flaw(json.dumps(LINES), "[]") == "$: [] is not of type 'object'"
    await checks.close()
    assert checkers() == []


async def test_the_process_that_checks_has_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_KEY", "sk-1")
    checks = SchemaChecks()
    await checks.flaw("{}", None)

    (checker,) = checkers()

    # Python itself may set the locale.
    assert set(checker.environ()) <= {"LC_CTYPE"}
    await checks.close()


async def test_a_checker_that_died_is_replaced() -> None:
    checks = SchemaChecks()
    await checks.flaw("{}", None)
    (checker,) = checkers()
    checker.kill()

    assert await checks.flaw("{}", "1") is None
    await checks.close()


async def test_a_check_that_ends_a_new_process_too_is_blamed_on_the_schema(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "dies.py"
    program.write_text("print('ready', flush=True)\ninput()\n")
    monkeypatch.setattr(json_schema, "_CHECKER", str(program))
    checks = SchemaChecks()

    with pytest.raises(Failure, match="takes too much memory") as raised:
        await checks.flaw("{}", "1")

    assert raised.value.category == "invalid_input"
    assert checkers() == []


async def test_an_answer_that_is_there_is_checked_though_the_time_of_its_provider_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = anyio.CancelScope()
    monkeypatch.setattr("workers.executors.chat.anyio", SimpleNamespace(move_on_after=lambda _: time))
    async with chat_with_provider(content('{"lines": []}')) as (chat, _):
        checked = chat._schemas.flaw

        async def late(schema: str, content: str | None) -> str | None:
            if content is not None:
                time.cancel()
            return await checked(schema, content)

        monkeypatch.setattr(chat._schemas, "flaw", late)
        outcome = await chat(asking_for(LINES))

    assert result_of(outcome)["content"] == '{"lines": []}'


def test_a_check_that_lacks_memory_says_nothing_of_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_schema: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(json_schema_checker, "validator_of", exhausted)

    with pytest.raises(MemoryError):
        json_schema_checker.check(b"{}", None)


def test_only_small_schemas_are_kept() -> None:
    json_schema_checker.kept_validator.cache_clear()

    for number in range(3):
        json_schema_checker.validator_of(json.dumps({"title": f"{number}" * json_schema_checker.MAX_KEPT}).encode())
    json_schema_checker.validator_of(b"{}")

    assert json_schema_checker.kept_validator.cache_info().currsize == 1


def test_content_that_is_nested_too_deeply_is_the_flaw_and_not_its_schema() -> None:
    tree = b'{"type": "array", "items": {"$ref": "#"}}'

    flaw_of, _ = json_schema_checker.check(tree, b"[" * 5000 + b"]" * 5000)

    assert flaw_of == "content"


def test_a_check_that_nobody_stops_ends_its_process() -> None:
    schema = json.dumps(BOMB).encode()

    ended = subprocess.run(
        [sys.executable, "-I", json_schema_checker.__file__, "0.5"],
        input=f"{len(schema)} {len(BOMBED)}\n".encode() + schema + BOMBED.encode(),
        stdout=subprocess.PIPE,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (-signal.SIGPROF, b"ready\n")


def checkers() -> list[psutil.Process]:
    return children(json_schema._CHECKER)
