"""Settings that stand in a run's name: `lr3e-4_bs256_wd0.1-seed2`, `llama-125M-lr=0.001`.

A setting is a known word with a number beside it (`lr3e-4`, `lr=3e-4`, `lr-3e-4`, and
`4ksteps`), or with a text after an equals sign or a colon (`opt=adamw`). Which words are
known is told by who asks: the proposal, which looks for them, and the mapping, in which
they are written down (`[[name_parts]]`).

Invariant: a part of a name is read once, and what is read stands in the name as it is,
but for a `p` between digits, which is a decimal point where file names allow none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

MOST_CHARACTERS = 500
"""Of a name; longer texts hold no settings."""
REST = "*"
"""Stands for what is left of a name without its settings."""
_NUMBER = (
    r"[+-]?(?:\d+(?:[.p]\d+)?|\.\d+)(?:e[+-]?\d+)?(?:[kmbt](?![a-z0-9])|%)?"
)
_END = r"(?![a-z0-9]|\.\d)"
_GAP = r"[-_/\s,;|()\[\]{}=:.]"
_SIZE = re.compile(
    rf"(?:^|(?<={_GAP}))\d+(?:[.p]\d+)?[mb](?=$|{_GAP}(?!\d*$))", re.IGNORECASE
)
_POINT = re.compile(r"(?<=\d)p(?=\d)", re.IGNORECASE)


def parts_reader(
    words: Mapping[str, Sequence[str]],
) -> Callable[[str], dict[str, str]]:
    """What reads the settings of a name, as text by the key of `words`. `words`: the
    spellings of each; none for a size that stands alone (`125M`), REST for what is left.
    """
    key_of: dict[str, str] = {}
    for key, spellings in words.items():
        for word in spellings:
            if word != REST:
                key_of[word.lower()] = key
    settings = _pattern(key_of)
    sizes = [key for key, spellings in words.items() if not spellings]
    rests = [key for key, spellings in words.items() if REST in spellings]

    def read(name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        if len(name) > MOST_CHARACTERS:
            return found

        def take(match: re.Match[str]) -> str:
            word = match["word"] or match["noun"]
            value = match["value"] or match["text"] or match["count"]
            known = key_of[_squeezed(word)]
            found.setdefault(known, _POINT.sub(".", value))
            return "-"

        left = settings.sub(take, name) if key_of else name
        size = _SIZE.search(left)
        if sizes and size:
            found[sizes[0]] = _POINT.sub(".", size[0])
            left = f"{left[: size.start()]}-{left[size.end() :]}"
        rest = re.sub(rf"{_GAP}+", "-", left).strip("-")
        return found | (dict.fromkeys(rests, rest) if rest else {})

    return read


def _pattern(key_of: dict[str, str]) -> re.Pattern[str]:
    """All words of a name with their values. `key_of` learns how words look in names."""
    for word in [*key_of]:
        key_of[_squeezed(word)] = key_of[word]
    ordered = sorted(key_of, key=len, reverse=True)
    long = _choice(word for word in ordered if len(word) > 1)
    short = _choice(word for word in ordered if len(word) == 1)
    # `b2` within `a1b2-17` is no word: it needs a gap before it, as one letter does
    numbered = _choice(word for word in ordered if word[-1:].isdigit())
    plain = _choice(w for w in ordered if len(w) > 1 and not w[-1].isdigit())
    word = rf"(?P<word>(?<![a-z]){plain}|(?<![a-z0-9.]){numbered}"
    word += rf"|(?<![a-z0-9.]){short}(?=\d))"
    following = rf"(?:[-_]?{long}[-_=:]?\d|[-_]{long}[=:]|[-_][a-z]+[=:])"
    text = rf"[=:](?P<text>[a-z][\w.+-]*?)(?=$|[\s,;|/()\[\]{{}}]|{following})"
    value = rf"\s?[-_=:]?\s?(?P<value>{_NUMBER})(?:{_END}|(?={long}))"
    count = rf"(?<![a-z0-9.])(?P<count>\d+(?:[.p]\d+)?[kmbt]?)(?P<noun>{long}){_END}"
    return re.compile(rf"{word}(?:{value}|{text})|{count}", re.IGNORECASE)


def _choice(words: Iterable[str]) -> str:
    """Any of some words, `weight_decay` as `weight-decay` and `weightdecay` too."""
    spelled = [re.escape(w).replace("_", "[-_ ]?") for w in words]
    return f"(?:{'|'.join(spelled) or '(?!)'})"


def _squeezed(word: str) -> str:
    return re.sub(r"[-_ ]", "", word.lower())
