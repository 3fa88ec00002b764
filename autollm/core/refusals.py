"""What the operating system refuses, in the house's sentences: no space, no permission,
quota reached, a name too long.

Libraries word the same refusal each in their own way; its number is always there.
"""

from __future__ import annotations

import errno
import re

CAUSES = {
    errno.ENOSPC: (
        "the disk is full",
        "free some space (autollm clean --keep 2), then run it again",
    ),
    errno.EDQUOT: (
        "your quota on that disk is used up",
        "free some of it (autollm clean --keep 2), then run it again",
    ),
    errno.EACCES: (
        "this user may not do that",
        "give yourself the right, or choose another home (AUTOLLM_HOME, --home)",
    ),
    errno.EPERM: (
        "this user may not do that",
        "give yourself the right, or choose another home (AUTOLLM_HOME, --home)",
    ),
    errno.EFBIG: (
        "this user's limit on a file's size is reached",
        "raise it (ulimit -f unlimited), then run it again",
    ),
    errno.EROFS: (
        "that disk can only be read",
        "choose a home that can be written (AUTOLLM_HOME, --home)",
    ),
    errno.ENAMETOOLONG: (
        "the name is longer than the file system allows",
        "choose a shorter one",
    ),
    errno.ENOENT: ("nothing is there", "check the path"),
    errno.ENOTDIR: ("a part of that path is no folder", "check the path"),
    errno.EISDIR: ("that is a folder, no file", "check the path"),
    errno.EMFILE: (
        "too many files are open",
        "raise the limit (ulimit -n 4096), then run it again",
    ),
    errno.EIO: ("the disk does not answer", "check the disk"),
}
"""What is wrong, and the one action, by the error's number."""
TEXT = re.compile(r"\[Errno (\d+)\] [^:\n]{1,100}(?:: ([^\n]{1,4000}))?")
"""How Python spells such an error where only its text has come through."""


def sentence_of(error: OSError) -> str | None:
    """A refusal as one sentence; None where its number is not among CAUSES."""
    return _sentence(error.errno or 0, error.filename)


def sentence_in(text: str) -> str | None:
    """As `sentence_of`, for an error of which only the text is left."""
    match = TEXT.search(text)
    if match is None:
        return None
    named = (match[2] or "").strip().strip("'\"")
    return _sentence(int(match[1]), named or None)


def _sentence(number: int, named: object) -> str | None:
    if number not in CAUSES:
        return None
    wrong, action = CAUSES[number]
    where = f"{named}: " if named else ""
    return f"{where}{wrong}. Fix: {action}."
