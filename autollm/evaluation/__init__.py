"""Judging: one protocol for every policy, intervals that are honest about few targets,
a leaderboard, a page to read.

    protocol (one episode) -> runner (many, resumable) -> leaderboard -> report
    intervals, bounds: the arithmetic     look_log: who looked at test tasks, and when

Agents come in as contenders; nothing here knows a model, a tracker or an orchestrator.
Imports gym and policies alone.
"""
