"""Spaces of configurations: knobs, coordinates, distances, levels."""
