"""The file of scoped tokens: what it may hold, what is said about mistakes, and that it is read again."""

import logging
from hashlib import sha256
from pathlib import Path

import pytest

from aiserv import tokens
from aiserv.settings import SettingsError
from aiserv.tokens import ANYBODY, PLAIN, Caller, Tokens, new_token, read_tokens

DIGEST = sha256(b"secret").hexdigest()
TABLE = f'[reader]\nscope = "read"\nowner_service = "*"\nsha256 = "{DIGEST}"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.toml"
    path.write_text(TABLE)
    return path


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.0)


def test_a_token_is_known_by_its_digest(file: Path) -> None:
    known = Tokens(["plain"], file)

    assert known.caller("Bearer secret") == Caller("reader", "read")
    assert known.caller("Bearer plain") == PLAIN
    assert known.caller(f"Bearer {DIGEST}") is None
    assert known.caller("Bearer reader") is None


def test_only_without_any_configuration_everybody_is_let_in(file: Path) -> None:
    file.write_text("")

    assert Tokens().caller("") == ANYBODY
    assert Tokens([], file).caller("") is None


@pytest.mark.parametrize(("name", "owner"), [("a", "*"), ("a.b-c_1", 'tele"phony\\ é'), ("t", "telephony")])
def test_a_new_token_fits_the_file(file: Path, name: str, owner: str) -> None:
    secret, table = new_token(name, "write", owner)

    file.write_text(TABLE + table)

    assert secret not in table
    assert Tokens([], file).caller(f"Bearer {secret}") == Caller(name, "write", None if owner == "*" else owner)


@pytest.mark.parametrize(
    ("name", "scope", "owner"),
    [
        ("", "read", "*"),
        ("a b", "read", "*"),
        ("anybody", "read", "*"),
        ("a", "root", "*"),
        ("a", "read", ""),
        ("a", "read", "\n"),
    ],
)
def test_a_token_that_would_not_fit_is_not_made(name: str, scope: str, owner: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is taken"):
        new_token(name, scope, owner)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[reader", "is not TOML (at"),
        ("plain-secret", "is not TOML (at"),
        ('reader = "plain-secret"', "reader must be a table"),
        (TABLE.replace(DIGEST, "plain-secret"), "reader.sha256 must be 64 hexadecimal digits"),
        (TABLE.replace('"read"', '"plain-secret"'), "reader.scope must be read, write, worker or admin"),
        (TABLE.replace('"*"', '""'), "reader.owner_service must be"),
        (TABLE.replace('"*"', "1"), "reader.owner_service must be"),
        (TABLE.replace("owner_service", "owner"), "reader.owner_service must be given"),
        (f'{TABLE}token = "plain-secret"', "reader.token is not known"),
        (TABLE + TABLE.replace("reader", "other"), "other has the digest of reader"),
        (TABLE.replace("reader", '"a b"'), "a name must be 1 to 100 letters"),
        (TABLE.replace("reader", "AI_SERVICE_TOKEN"), "the name AI_SERVICE_TOKEN is taken"),
        (TABLE.replace("reader", "anybody"), "the name anybody is taken"),
        ("\udcff", "cannot be read: UnicodeDecodeError"),
    ],
)
def test_a_mistake_is_named_without_a_value(file: Path, text: str, said: str) -> None:
    file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(SettingsError) as refused:
        read_tokens(file)

    assert str(refused.value).startswith(f"AI_SERVICE_TOKENS_FILE: {said}")
    assert "plain-secret" not in str(refused.value)


def test_a_changed_file_is_read_again(file: Path, at_once: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    known = Tokens([], file)
    secret, table = new_token("next", "worker", "*")
    replacement = file.with_name("replacement")
    replacement.write_text(table)

    replacement.replace(file)

    assert known.caller(f"Bearer {secret}") == Caller("next", "worker")
    assert known.caller("Bearer secret") is None
    assert "tokens read again: next" in caplog.messages
    assert secret not in caplog.text


@pytest.mark.parametrize("broken", ["[next", None])
def test_a_file_that_becomes_unreadable_changes_nothing(
    file: Path, at_once: None, caplog: pytest.LogCaptureFixture, broken: str | None
) -> None:
    known = Tokens([], file)

    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)

    for _ in range(3):
        assert known.caller("Bearer secret") == Caller("reader", "read")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the tokens stay as they were" in caplog.text


def test_a_file_that_has_not_changed_is_looked_at_once_a_second_at_most(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tokens.LOOK_SECONDS == 1
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 3600.0)
    known = Tokens([], file)
    looks: list[Path | None] = []
    monkeypatch.setattr(tokens, "_version", looks.append)

    for _ in range(100):
        known.caller("Bearer secret")

    assert looks == []
