"""An answer put together: what can be told, doubts, what would change it."""
