"""The stages of the main job as plain functions: what assets and commands call, without
Dagster.
"""
