import pytest

from autollm.core import redaction
from autollm.core.redaction import REDACTED, redact

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
        (
            '{"WANDB_API_KEY": "0123456789abcdef"}',
            f'{{"WANDB_API_KEY": "{REDACTED}"}}',
        ),
        (
            "Authorization: Bearer abcdefghijk",
            f"Authorization: Bearer {REDACTED}",
        ),
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


LONG = "Ab3" * 14
KINDS = {
    "openai": "sk-proj-" + LONG,
    "anthropic": "sk-ant-api03-" + LONG,
    "openrouter": "sk-or-v1-" + LONG,
    "stripe": "sk_" + "live_" + LONG,
    "hugging face": "hf_" + LONG,
    "github": "github_" + "pat_" + LONG,
    "gitlab": "glpat-" + LONG,
    "slack": "xoxb-" + "12345678901-" + LONG,
    "slack app": "xapp-1-" + LONG,
    "aws": "ASIA" + "ABCD1234" * 2,
    "google": "AIza" + "x1" * 17 + "y",
    "google oauth": "ya29." + LONG,
    "google client": "GOCSPX-" + LONG,
    "azure client": "abc8Q~" + "x" * 34,
    "npm": "npm_" + LONG,
    "pypi": "pypi-AgEIcHlwaS5vcmc" + LONG,
    "docker": "dckr_" + "pat_" + LONG,
    "groq": "gsk_" + LONG,
    "xai": "xai-" + LONG,
    "perplexity": "pplx-" + LONG,
    "replicate": "r8_" + LONG,
    "nvidia": "nvapi-" + LONG,
    "databricks": "dapi" + "0123456789abcdef" * 2,
    "digital ocean": "dop_v1_" + "0123456789abcdef" * 4,
    "linear": "lin_" + "api_" + LONG,
    "grafana": "glsa_" + LONG,
    "sendgrid": "SG." + LONG + "." + LONG,
    "twilio": "SK" + "0123456789abcdef" * 2,
    "discord": "M" + "a1" * 12 + ".GabcDe." + "x" * 30,
    "telegram": "123456789:AA" + "x" * 33,
    "vault": "hvs." + LONG,
    "shopify": "shpat_" + "0123456789abcdef" * 2,
    "jwt": "eyJ" + "a" * 10 + "." + "b" * 12 + "." + "c" * 12,
}
NAMED = {
    "pwd": "pwd=hunter2",
    "passphrase": "passphrase: correct-horse",
    "quoted": 'db_password = "two words"',
    "aws secret": "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfi",
    "azure storage": "AccountKey=Zm9vYmFyYmF6cXV4Zm9vYmFy==;EndpointSuffix=core",
    "wandb": "WANDB_API_KEY=" + "0123456789abcdef01234567" * 2,
    "netrc": "machine api.wandb.ai login user password 0123456789abcdef0123",
    "token": "access_token: abcdefgh",
    "cookie": "Cookie: session=abc; theme=dark",
    "set-cookie": "Set-Cookie: id=a3fWa; Path=/; Secure",
    "basic": "Authorization: Basic dXNlcjpwYXNz",
    "x-key": "X-Api-Key: something",
    "query": "https://x.example/run?sig=abc%2Fdef&page=1",
    "user:password": "postgresql://me:hunter2@db.example/x",
    "slack hook": "https://hooks.slack.com/services/T000/B000/XXXXXXXX",
}
VALUES = {
    "pwd": "hunter2",
    "passphrase": "correct-horse",
    "quoted": "two words",
    "aws secret": "wJalrXUtnFEMI",
    "azure storage": "Zm9vYmFy",
    "wandb": "0123456789abcdef",
    "netrc": "0123456789abcdef",
    "token": "abcdefgh",
    "cookie": "abc",
    "set-cookie": "a3fWa",
    "basic": "dXNlcjpwYXNz",
    "x-key": "something",
    "query": "abc%2Fdef",
    "user:password": "hunter2",
    "slack hook": "XXXXXXXX",
}
PRIVATE = {
    "ssh key": ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "b3Bl"),
    "host field": ("hostname: gpu17", "gpu17"),
    "wandb host": ('{"host": "alices-box"}', "alices-box"),
    "inner host": ("ran on gpu17.cluster.internal", "gpu17"),
    "user field": ("username=alice", "alice"),
    "address": ("connected to 10.12.3.4:22", "10.12.3.4"),
    "address 6": ("from fe80:0:0:0:202:b3ff:fe1e:8329", "8329"),
    "path": ("read /mnt/secret-project/runs/a.csv", "secret-project"),
    "home": ("in /home/alice", "alice"),
    "windows path": ("C:\\Users\\alice\\runs\\a.csv", "alice"),
    "mail": ("ask alice@lab.example", "alice"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_redact__token_of_each_issuer__is_taken_out(kind):
    text = redact(f"before {KINDS[kind]} after")
    assert text == f"before {REDACTED} after" == redact(text)


@pytest.mark.parametrize("kind", NAMED)
def test_redact__secret_by_its_name__is_taken_out(kind):
    text = redact(f"before\n{NAMED[kind]}\nafter")
    assert (
        VALUES[kind] not in text and REDACTED in text and redact(text) == text
    )
    assert text.startswith("before\n") and text.endswith("\nafter")


@pytest.mark.parametrize("kind", PRIVATE)
def test_redact__names_of_machines_people_and_folders__are_taken_out(kind):
    text, private = PRIVATE[kind]
    left = redact(text)
    assert private not in left and redact(left) == left


def test_redact__this_machine_and_its_user__are_taken_out(monkeypatch):
    monkeypatch.setattr(redaction.socket, "gethostname", lambda: "deepthought")
    monkeypatch.setattr(redaction.getpass, "getuser", lambda: "marvin")
    redaction._own_names.cache_clear()
    try:
        assert redact("marvin on deepthought") == "[user] on [host]"
    finally:
        redaction._own_names.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=4096 pad_token: <pad> eos_token=<|endoftext|>",
        "summary/val_loss 3.1 at https://host.example/a/b/c",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "started 2026-01-02T12:34:56 took 1:02:03",
        "e1 0.25/-0.5 and 3 / 4",
        "served at http://127.0.0.1:3000/runs",
        "optimizer.lr=0.001, model=llama-1.2.3.4b",
    ],
)
def test_redact__words_of_training__are_left_as_they_are(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    "piece",
    ["a-", "a_", "/a", "a.", "a@", "1:", "key", "=", "sk-", "token", '"', "~/"],
)
def test_redact__long_text_of_one_piece__ends(piece):
    """Half a million characters; a pattern that goes back and forth never ends here."""
    redact(piece * (500_000 // len(piece)))
