"""Secrets are kept out of messages."""

import pytest

from pytest_loadgen.redaction import redact, without_password


@pytest.mark.parametrize(
    ("secrets", "text", "shown"),
    [
        (["Bearer geheim-1"], "got 'Bearer geheim-1'", "got '[...]'"),
        # A part of a secret is a secret, too.
        (["Bearer geheim-1"], "token geheim-1", "token [...]"),
        (["a=1; id=geheim-2"], "id geheim-2 of a", "id [...] of a"),
        # As JSON writes it.
        (['ge"heim'], r"value: ge\"heim", "value: [...]"),
        # A field of a form or of JSON, as the service reads it; names stay, and so do short values.
        (["name=Ada+Lovelace%21&x=1"], "no Ada Lovelace!", "no [...]"),
        (
            ['{"password": "ge heim", "n": [12345, true], "a": "b"}'],
            "password ge heim 12345 b True",
            "password [...] [...] b True",
        ),
        # A login, as it was before it was encoded.
        (["Basic YWRhOmdlaGVpbQ=="], "ada may not use geheim", "ada may not use [...]"),
        # The longest first, so that nothing remains of it.
        (["geheim", "geheim-1234"], "geheim-1234", "[...]"),
        # Too short for a secret.
        (["a", "b=1", ""], "a tea, b=1", "a tea, b=1"),
    ],
)
def test_secrets_are_replaced(secrets: list[str], text: str, shown: str) -> None:
    assert redact(text, secrets) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("is gehe", "is [...]"),
        ("is geheim-1", "is [...]"),
        ("is geh", "is geh"),
        ("geheim-2 gehegeheim", "geheim-2 gehe[...]"),
    ],
)
def test_the_beginning_of_a_secret_at_the_end_of_a_cut_text(text: str, shown: str) -> None:
    assert redact(text, ["geheim-1234"], is_cut=True) == shown
    assert redact(text, ["geheim-1234"]) == text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://user:geheim@host:1/path", "http://host:1/path"),
        ("user:geheim@host:1", "host:1"),
        ("http://u:ge//heim@host", "http://host"),
        ("http://u:ge@heim@host", "http://host"),
        ("host:1", "host:1"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert without_password(address) == shown
