"""Settings that stand in a run's name: `lr3e-4_bs256_wd0.1-seed2`, `llama-125M-lr=0.001`.

A setting is a known word with a number beside it (`lr3e-4`, `lr=3e-4`, `lr-3e-4`, and
`4ksteps`), or with a text after an equals sign or a colon (`opt=adamw`). A letter that
means many things may mean a size alone (`n125M`, `2.5BT`). Which words are
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
SIZED = "#"
"""Ends a word that counts only beside a number with a magnitude: `n#` reads `n125M`."""
_DIGITS = r"(?:\d+(?:[.p]\d+)?|\.\d+)"
_NUMBER = rf"[+-]?{_DIGITS}(?:e[+-]?\d+)?(?:[kmbtg](?![a-z0-9])|%)?"
_END = r"(?![a-z0-9]|\.\d)"
_GAP = r"[-_/\s,;|()\[\]{}=:.]"
_SIZE = re.compile(
    rf"(?:^|(?<={_GAP}))\d+(?:[.p]\d+)?[mb](?=$|{_GAP}(?!\d*$))", re.IGNORECASE
)
_BETWEEN_SIZES = re.compile(r"(?<=\d[mbk])[x×](?=\d)", re.IGNORECASE)
"""`25Mx0.5B`"""
_CHAINED = re.compile(r"(?<=\d)(?=[a-z])", re.IGNORECASE)
"""Between the letters of `L12H768`."""
_POINT = re.compile(r"(?<=\d)p(?=\d)", re.IGNORECASE)


def parts_reader(
    words: Mapping[str, Sequence[str]],
) -> Callable[[str], dict[str, str]]:
    """What reads the settings of a name, as text by the key of `words`. `words`: the
    spellings of each; none for a size that stands alone (`125M`; of several such keys the
    second is the second size), REST for what is left.
    """
    key_of: dict[str, str] = {}
    for key, spellings in words.items():
        for word in spellings:
            if word != REST:
                key_of[word.lower()] = key
    settings = _pattern(key_of)
    letters = _choice(word for word in key_of if len(word) == 1)
    chain = rf"(?<![a-z0-9])(?:{letters}\d+){{2,}}(?![a-z0-9])"
    chains = re.compile(chain, re.IGNORECASE)
    sizes = [key for key, spellings in words.items() if not spellings]
    rests = [key for key, spellings in words.items() if REST in spellings]

    def read(name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        if len(name) > MOST_CHARACTERS:
            return found

        def take(match: re.Match[str]) -> str:
            word = match["word"] or match["noun"]
            value = match["value"] or match["text"] or match["count"]
            letter = match["letter"] or match["unit"]
            if letter:
                word, value = letter + SIZED, match["size"] or match["amount"]
            known = key_of[_squeezed(word)]
            found.setdefault(known, _POINT.sub(".", value))
            return "-"

        left = chains.sub(lambda chain: _CHAINED.sub("-", chain[0]), name)
        left = _BETWEEN_SIZES.sub("-", left)
        left = settings.sub(take, left) if key_of else left
        for key in sizes:
            size = _SIZE.search(left)
            if size and key not in found:
                found[key] = _POINT.sub(".", size[0])
                left = f"{left[: size.start()]}-{left[size.end() :]}"
        rest = re.sub(rf"{_GAP}+", "-", left).strip("-")
        return found | (dict.fromkeys(rests, rest) if rest else {})

    return read


def _pattern(key_of: dict[str, str]) -> re.Pattern[str]:
    """All words of a name with their values. `key_of` learns how words look in names."""
    for word in [*key_of]:
        key_of[_squeezed(word)] = key_of[word]
    sized = _choice(w.removesuffix(SIZED) for w in key_of if w.endswith(SIZED))
    ordered = sorted(key_of, key=len, reverse=True)
    ordered = [word for word in ordered if not word.endswith(SIZED)]
    long = _choice(word for word in ordered if len(word) > 1)
    short = _choice(word for word in ordered if len(word) == 1)
    # `b2` within `a1b2-17` is no word: it needs a gap before it, as one letter does
    numbered = _choice(word for word in ordered if word[-1:].isdigit())
    plain = _choice(w for w in ordered if len(w) > 1 and not w[-1].isdigit())
    word = rf"(?P<word>(?<![a-z]){plain}|(?<![a-z0-9.]){numbered}(?=[-_=:]|0?[.p]\d)"
    word += rf"|(?<![a-z0-9.]){short}(?=[-=]?\d))"
    following = rf"(?:[-_]?{long}[-_=:]?\d|[-_]{long}[=:]|[-_][a-z]+[=:])"
    text = rf"[=:](?P<text>[a-z][\w.+-]*?)(?=$|[\s,;|/()\[\]{{}}]|{following})"
    value = rf"\s?[-_=:]?\s?(?P<value>{_NUMBER})(?:{_END}|(?={long}))"
    count = rf"(?<![a-z0-9.])(?P<count>\d+(?:[.p]\d+)?[kmbtg]?)(?P<noun>{long}){_END}"
    size = rf"{_DIGITS}[kmbtg]"
    letter = rf"(?<![a-z0-9])(?P<letter>{sized})[-_=:]?(?P<size>{size}){_END}"
    unit = rf"(?<![a-z0-9.])(?P<amount>{_DIGITS}[kmbg])(?P<unit>{sized}){_END}"
    every = rf"{letter}|{unit}|{word}(?:{value}|{text})|{count}"
    return re.compile(every, re.IGNORECASE)


def _choice(words: Iterable[str]) -> str:
    """Any of some words, `weight_decay` as `weight-decay` and `weightdecay` too."""
    spelled = [re.escape(w).replace("_", "[-_ ]?") for w in words]
    return f"(?:{'|'.join(spelled) or '(?!)'})"


def _squeezed(word: str) -> str:
    return re.sub(r"[-_ ]", "", word.lower())
