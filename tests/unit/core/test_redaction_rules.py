"""Redaction as a rule: what it knows is gone wherever it stands, redacting twice changes
nothing more, and what is no secret stays.
"""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core import redaction
from autollm.core.redaction import REDACTED, redact

LETTERS = string.ascii_letters + string.digits
TOKENS = (
    "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8t",
    "hf_Ab3dEf6hIj9kLm2nOp5qRs8tUv1w",
    "ghp_Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z0123",
    "xoxb-123456789012-Ab3dEf6hIj9k",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "npm_Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z0123",
    "gsk_Ab3dEf6hIj9kLm2nOp5qRs8tUv1w",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
)
BETWEEN = (
    " ",
    "\n",
    "\t",
    ", ",
    "; ",
    ": ",
    " = ",
    '"',
    "'",
    "(",
    ")",
    "<",
    ">",
)
PIECES = (
    *TOKENS,
    *BETWEEN,
    "password=",
    "passwd: ",
    "api_key = ",
    "token=",
    "Authorization: Bearer ",
    "Cookie: ",
    "https://",
    "user:pw123456@host.example.org/",
    "alice@example.org",
    "10.1.2.3",
    "/home/alice/",
    "/data/runs/x/",
    "host=",
    "gpu-01.corp",
    "user: ",
    "bob",
    "lr=0.001",
    "loss 2.31",
    "[redacted]",
    "[host]",
    "[folder]/",
    "ü",
    "tokens: 1000",
    "eos_token=",
    "<|end|>",
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
WORDS = st.lists(st.sampled_from(PIECES[len(TOKENS) :]), max_size=6).map(
    "".join
)


@given(TEXTS)
def test_redact__twice__changes_nothing_more(text):
    once = redact(text)
    assert redact(once) == once


@given(WORDS, st.sampled_from(TOKENS), WORDS, st.sampled_from(BETWEEN))
def test_redact__token_between_other_words__is_gone(before, token, after, gap):
    assert token not in redact(f"{before}{gap}{token}{gap}{after}")


@given(st.text(max_size=40), st.text(LETTERS, min_size=12, max_size=20))
def test_redact__secret_that_it_is_handed__is_gone_from_anywhere(text, secret):
    found = redact(f"{text}{secret}{text}{secret}", [secret])
    assert secret not in found


@given(st.text(max_size=200))
def test_redact__any_text__is_text_and_stays_as_it_is_the_second_time(text):
    once = redact(text)
    assert isinstance(once, str) and redact(once) == once


def test_redact__known_secrets_of_which_one_holds_another__leave_no_rest():
    found = redact("x abcdef123456 y abcdef z", ["abcdef", "abcdef123456"])
    assert found == f"x {REDACTED} y {REDACTED} z"


def test_redact__empty_secret__is_none():
    assert redact("plain words", ["", "zzz"]) == "plain words"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "val_loss 2.31 at step 1000",
        "learning_rate=0.00316, batch_tokens=65536",
        "tokens: 1,000,000",
        "max_token = 512",
        "n_tokens=1e9",
        "the optimum moves with compute ** -0.31",
        "moving-bowl won 3/8 tasks (p = .02)",
        "7B params, 140B tokens",
        "muP vs. standard; adam(0.9, 0.95)",
        "localhost:5000",
        "http://127.0.0.1:3000/runs",
        "1:30:00 elapsed",
        "sha256 of the config",
        "steplaw-dense-top-v1",
        "3/4 of the rows",
        "and/or",
        "key results: none",
    ],
)
def test_redact__words_of_research__stay_as_they_are(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('{"password": "hunter2hunter2"}', "hunter2"),
        ("PASSWORD='hunter2 with spaces'", "with spaces"),
        ("export WANDB_API_KEY=0123456789abcdef0123", "0123456789abcdef"),
        ("--api-key hf --api_key=letmein99", "letmein99"),
        ("client_secret: Zm9vYmFy", "Zm9vYmFy"),
        ("postgres://me:s3cr3t@db.example.org/x", "s3cr3t"),
        ("curl -H 'Authorization: Basic dXNlcjpwYXNz'", "dXNlcjpwYXNz"),
        ("X-Api-Key: abc123def456", "abc123def456"),
        ("https://x.org/f?sig=abcd1234&other=1", "abcd1234"),
        ("Set-Cookie: session=abcdefgh12345; Path=/", "abcdefgh12345"),
        ("machine x login y password zyxwvuts", "zyxwvuts"),
        ("mail alice.smith+x@mail.example.co.uk now", "alice"),
        ("at 192.168.17.4 port", "192.168.17.4"),
        ("from fe80:0:0:0:204:61ff:fe9d:f156 on", "fe9d"),
        ("ran on node17.cluster.internal", "node17"),
        ("hostname: thor-7", "thor-7"),
        ('"username": "jdoe42"', "jdoe42"),
        ("saved to /home/jdoe/checkpoints/a.pt", "jdoe"),
        ("saved to /scratch/project_9/x/a.pt", "project_9"),
        ("saved to ~jdoe/runs/a.pt", "jdoe"),
    ],
)
def test_redact__one_form_of_each_kind__is_gone(text, secret):
    assert secret in text
    assert secret not in redact(text)


def test_redact__private_key__is_gone_with_its_body_even_cut_off():
    body = "MIIEpAIBAAKCAQEA" * 4
    whole = (
        f"before\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n"
        "-----END RSA PRIVATE KEY-----\nafter"
    )
    assert redact(whole) == f"before\n{REDACTED}\nafter"
    cut = whole[: whole.index("-----END")]
    assert "MIIE" not in redact(cut)


def test_redact__quotes_around_a_value__stay_so_that_json_stays_json():
    assert redact('{"password": "abc123", "lr": 0.1}') == (
        f'{{"password": "{REDACTED}", "lr": 0.1}}'
    )


@pytest.mark.parametrize(
    "text",
    ["eos_token=<|end|>", "pad_token: [PAD]", 'bos_token = "<s>"'],
)
def test_redact__tokens_of_a_model__are_no_secrets(text):
    assert redact(text) == text


def test_redact__own_machine_and_user__are_their_kind(monkeypatch):
    redaction._own_names.cache_clear()
    monkeypatch.setattr(redaction.socket, "gethostname", lambda: "thor-gpu7")
    monkeypatch.setattr(redaction.getpass, "getuser", lambda: "jdoe42")
    try:
        assert redact("jdoe42 ran it on thor-gpu7") == "[user] ran it on [host]"
        assert redact("xjdoe42 thor-gpu77") == "xjdoe42 thor-gpu77"
    finally:
        redaction._own_names.cache_clear()


@pytest.mark.parametrize("error", [KeyError("uid"), OSError("no name")])
def test_redact__user_without_a_name__is_no_error(monkeypatch, error):
    def refuse():
        raise error

    redaction._own_names.cache_clear()
    monkeypatch.setattr(redaction.getpass, "getuser", refuse)
    monkeypatch.setattr(redaction.socket, "gethostname", lambda: "root")
    try:
        assert redact("root ran it") == "root ran it"
    finally:
        redaction._own_names.cache_clear()


@pytest.mark.parametrize(
    "unit",
    ["a-", "a.", "/a", "x@", "1.", "eyJ", "://", "a:", "key=", "%20", "=="],
)
def test_redact__one_piece_very_often__comes_back(unit):
    """Each repetition in a pattern is bounded: no input makes the time explode."""
    once = redact(unit * 3000)
    assert isinstance(once, str)
