"""autollm: learn from cheap training runs, configure expensive ones."""

__version__ = "0.1.0"
