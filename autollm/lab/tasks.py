"""Three verifiable tasks that a small decoder can half do: prompts, the answer's check,
and a format that can be had without it.

    sorting     S52713=  ->  12357        size: digits
    arithmetic  A38+47=  ->  58           size: digits of each term; the sum is written
                                          from its last digit on
    countdown   C3,7,2=13=  ->  3*2+7     size: numbers; each may be used once, + - *
                                          from left to right

Invariant: every prompt has a right answer, which `solve` gives.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

TASKS = ("sorting", "arithmetic", "countdown")
SIZES = {"sorting": (4, 5, 6), "arithmetic": (2, 3), "countdown": (3, 4)}
"""Sizes that reinforcement learning trains on, each as often as the others."""
SHIFTED = {"sorting": (3, 7), "arithmetic": (1, 4), "countdown": (2, 5)}
"""Sizes that the start model has seen as well and reinforcement learning leaves alone:
one less and one more.
"""
RETAINED = {
    "sorting": "arithmetic",
    "arithmetic": "sorting",
    "countdown": "sorting",
}
"""The second task that the start model knows and may forget."""
ALPHABET = "0123456789+-*=,SAC"
MAX_ANSWER = 12
"""Tokens of an answer, its end included."""


@dataclass(frozen=True)
class Example:
    """A prompt and one right answer."""

    task: str
    prompt: str
    answer: str


def make(task: str, size: int, rng: random.Random) -> Example:
    """A random example of a task."""
    if task == "sorting":
        digits = [rng.choice("0123456789") for _ in range(size)]
        return Example(task, f"S{''.join(digits)}=", "".join(sorted(digits)))
    if task == "arithmetic":
        a, b = (rng.randrange(10 ** (size - 1), 10**size) for _ in range(2))
        return Example(task, f"A{a}+{b}=", str(a + b)[::-1])
    numbers = [rng.randrange(1, 10) for _ in range(size)]
    answer = str(numbers[0]) + "".join(
        rng.choice("+-*") + str(n) for n in rng.sample(numbers[1:], size - 1)
    )
    return Example(
        task, f"C{','.join(map(str, numbers))}={value(answer)}=", answer
    )


def is_right(prompt: str, answer: str) -> bool:
    """Whether an answer solves its prompt."""
    if not is_well_formed(prompt, answer):
        return False
    question = prompt[1:].rstrip("=")
    if prompt[0] == "S":
        return answer == "".join(sorted(question))
    if prompt[0] == "A":
        return answer == str(sum(map(int, question.split("+"))))[::-1]
    return value(answer) == int(question.split("=")[1])


def is_well_formed(prompt: str, answer: str) -> bool:
    """Whether an answer looks like one: digits, as many as are sorted; an expression of
    given numbers.
    """
    if prompt[0] == "S":
        return answer.isdigit() and len(answer) == len(prompt) - 2
    if prompt[0] == "A":
        return answer.isdigit()
    left = prompt[1:].split("=")[0].split(",")
    numbers, signs = answer[::2], answer[1::2]
    if (
        not answer
        or len(numbers) != len(signs) + 1
        or not numbers.isdigit()
        or set(signs) - set("+-*")
    ):
        return False
    for number in numbers:
        if number not in left:
            return False
        left.remove(number)
    return True


def value(expression: str) -> int:
    """Value of single digits joined by + - *, from left to right (no precedence)."""
    total = int(expression[0])
    for sign, digit in zip(expression[1::2], expression[2::2], strict=True):
        if sign == "+":
            total += int(digit)
        elif sign == "-":
            total -= int(digit)
        else:
            total *= int(digit)
    return total
