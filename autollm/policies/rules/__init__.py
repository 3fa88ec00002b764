"""Policies without a model: copies, laws, controls."""
