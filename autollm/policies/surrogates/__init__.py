"""Policies that model the cheap experiments and extrapolate."""
