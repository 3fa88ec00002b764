"""Skins over an episode: gymnasium environments, and text with its tools."""
