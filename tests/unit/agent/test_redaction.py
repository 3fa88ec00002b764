import pytest

from autollm.agent.redaction import REDACTED, redact

# Written in parts, so that no scanner of this repository takes them for real ones.
SECRETS = [
    "sk-" + "a1B2" * 8,
    "hf_" + "Ab1" * 10,
    "ghp_" + "x9" * 18,
    "AKIA" + "ABCD1234" * 2,
    "AIza" + "x" * 35,
    "eyJ" + "a" * 10 + "." + "b" * 12 + "." + "c" * 12,
    "someone@example.org",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda s: s[:6])
def test_redact__known_form__is_taken_out_and_the_rest_stays(secret):
    text = redact(f"before {secret} after")
    assert secret not in text and text == f"before {REDACTED} after"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("api_key=abc123def", f"api_key={REDACTED}"),
        ('{"WANDB_API_KEY": "0123456789abcdef"}', f'{{"WANDB_API_KEY": "{REDACTED}"}}'),
        ("Authorization: Bearer abcdefghijk", f"Authorization: Bearer {REDACTED}"),
        ("password: hunter22!", f"password: {REDACTED}"),
        ("https://user:pass@host/x", f"https://{REDACTED}@host/x"),
    ],
)
def test_redact__value_with_a_telling_name__is_taken_out(text, left):
    assert redact(text) == left == redact(redact(text))


def test_redact__handed_secret__is_taken_out_wherever_it_stands():
    assert (
        redact("xyzzy-plugh and plugh", ["plugh", "", "xyzzy-plugh"])
        == f"{REDACTED} and {REDACTED}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "e1 at 0.5 -1.0 rows 80 optimum 0.0 0.25",
        'window "batch_tokens" -2.0 3.0',
        "tokens: 4000000000 params: 214663680",
        '{"learning_rate": 0.5, "batch_tokens": -0.25}',
        "secret santa came",
        "the token budget is 5",
    ],
)
def test_redact__text_of_the_game__is_left_as_it_is(text):
    assert redact(text) == text
