"""Policies that may pay for cheap runs."""
