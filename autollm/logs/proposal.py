"""The old proposal, until logs/proposals takes its place."""

from autollm.logs.retiring.proposal import Proposal, propose

__all__ = ["Proposal", "propose"]
