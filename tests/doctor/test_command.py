"""`aiserv doctor` as a person would call it: what it shows, and what it tells the shell."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from anyio import to_thread
from psycopg.rows import DictRow

from aiserv.embedded import embedded_postgres
from aiserv.migrate import migrate
from tests.processes import aiserv


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with nothing wrong, and room for prepared transactions."""
    directory = tmp_path_factory.mktemp("durable")
    with embedded_postgres(directory) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter system set max_prepared_transactions = 1")
    with embedded_postgres(directory) as url:
        migrate(url)
        yield url


async def told(*arguments: str, **variables: str) -> tuple[int, str]:
    with aiserv("doctor", *arguments, **variables) as process:
        return await process.ended(), process.text


async def test_when_all_is_well_the_exit_is_zero(durable: str) -> None:
    status, text = await told("--json", DATABASE_URL=durable, AI_SERVICE_TOKEN="planted")

    answer = json.loads(text)
    wrong = [finding["topic"] for finding in answer["findings"] if finding["status"] != "ok"]
    assert (status, answer["status"], wrong) == (0, "warning", ["role"])
    assert set(answer["findings"][0]) == {"topic", "status", "detail", "advice"}


async def test_a_forgotten_prepared_transaction_is_named(durable: str) -> None:
    def look() -> DictRow | None:
        with psycopg.connect(durable, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
            connection.execute("begin")
            connection.execute("select pg_current_xact_id()")
            connection.execute("prepare transaction 'forgotten'")
            try:
                return connection.execute(
                    "select * from aiserv.check_installation(patience => '0') where topic = 'prepared_transactions'"
                ).fetchone()
            finally:
                connection.execute("rollback prepared 'forgotten'")

    finding = await to_thread.run_sync(look)

    assert finding
    assert (finding["status"], finding["detail"].startswith("forgotten since ")) == ("warning", True)


async def test_a_problem_makes_the_exit_one_and_says_what_to_do() -> None:
    status, text = await told(DATABASE_URL="postgresql://somebody:planted@127.0.0.1:9/x", AI_SERVICE_TOKEN="t")

    assert status == 1
    assert "problem  connection" in text
    assert "→ Start PostgreSQL" in text
    assert "planted" not in text


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u@h/d", "HTTP_PORT": "planted"}, "HTTP_PORT"),
        ({"DATABASE_URL": "postgresql://u@h/d?nothing=planted"}, "DATABASE_URL"),
    ],
)
async def test_a_bad_configuration_makes_the_exit_two(variables: dict[str, str], said: str) -> None:
    status, text = await told(**variables)

    assert (status, said in text) == (2, True)
    assert "aiserv:" in text


async def test_a_bad_file_of_tokens_makes_the_exit_two(durable: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text("planted")

    status, text = await told(DATABASE_URL=durable, AI_SERVICE_TOKENS_FILE=str(file))

    assert (status, text.startswith("aiserv: AI_SERVICE_TOKENS_FILE: is not TOML")) == (2, True)
    assert "planted" not in text
