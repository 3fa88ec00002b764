"""Every error that autollm raises on purpose, one class per boundary.

    AutoLLMError
    |- RecordError       a line or file of a raw log is not what its schema says   (logs, lab)
    |- MappingError      a mapping file is wrong, or does not fit its table         (logs)
    |- SourceError       a public table cannot be fetched, or is not the catalogue's (logs)
    |- SnapshotError     a published snapshot is missing, incomplete or altered     (gym)
    |- UnknownNameError  no suite, policy, profile ... of that name                 (registries)
    |- SuiteError        a suite file is wrong, or two have one name               (gym)
    |- PluginError       a part of another package cannot be loaded                (registries)
    |- SpaceError        a configuration does not belong to its space               (gym)
    |- SealedError       a sealed suite that nobody has opened                      (gym)
    |- EpisodeError      a call that an episode cannot take (finished, no budget)   (gym)
    |- FamilyError       a lab family's declaration contradicts itself              (lab)
    |- CorpusError       the lab's corpus differs from the recorded digest          (lab)
    |- CheckpointError   weights that cannot be loaded, or not the ones asked for   (agent)
    |- GenerationError   the generation back end failed or answered nonsense        (agent)
    |- ComparisonError   scores that may not stand side by side                     (evaluation)
    |- AdviceError       no honest answer to a question about the next run        (advisor)
    |- QuestionError     a question that lacks a coordinate, or names what is unknown (advisor)
    |- BusyError         somebody else holds a lock that this step needs            (locks)
    `- SetupError        something on this machine is missing or cannot be used     (pipelines, cli)

A message says what happened (with the value), what was expected, the nearest valid
thing, and the one action.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutoLLMError(Exception):
    """Base class: catch it to turn a failure into one clear line."""


class RecordError(AutoLLMError):
    """A line or file of a raw log is not what its schema says."""


class MappingError(AutoLLMError):
    """A mapping file is wrong, or does not fit its table."""


class SourceError(AutoLLMError):
    """A public table cannot be fetched, or is not what the catalogue says."""


class SnapshotError(AutoLLMError):
    """A published snapshot is missing, incomplete or altered."""


class SuiteError(AutoLLMError):
    """A suite file is wrong, or its name is taken."""


class PluginError(AutoLLMError):
    """A part of another package cannot be loaded, or is not what its group asks for."""


class UnknownNameError(AutoLLMError, LookupError):
    """No suite, policy, profile ... of that name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        known = sorted(known)
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(
            f"unknown {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}."
        )


class SpaceError(AutoLLMError, ValueError):
    """A configuration does not belong to its space."""


class SealedError(AutoLLMError):
    """A sealed suite that nobody has opened."""


class EpisodeError(AutoLLMError):
    """A call that an episode cannot take."""


class FamilyError(AutoLLMError, ValueError):
    """A lab family's declaration contradicts itself."""


class CorpusError(AutoLLMError):
    """The lab's corpus differs from the recorded digest."""


class CheckpointError(AutoLLMError):
    """Weights that cannot be loaded, or are not the ones asked for."""


class GenerationError(AutoLLMError):
    """The generation back end failed or answered nonsense."""


class ComparisonError(AutoLLMError):
    """Scores of different snapshots, suite versions or off-table modes in one
    comparison.
    """


class AdviceError(AutoLLMError):
    """There is no honest answer: the logs cannot be read, or do not say what is
    better. `code` names the reason, `remedy` the one action, `about` the column.
    """

    def __init__(self, code: str, text: str, remedy: str = "", about: str = ""):
        super().__init__(f"{text} Fix: {remedy}" if remedy else text)
        self.code = code
        self.text = text
        self.remedy = remedy
        self.about = about


class QuestionError(AutoLLMError):
    """A question that lacks a coordinate of its target, or names what nobody knows."""


class BusyError(AutoLLMError):
    """Somebody else holds a lock that this step needs."""


class SetupError(AutoLLMError):
    """Something on this machine is missing or cannot be used."""
