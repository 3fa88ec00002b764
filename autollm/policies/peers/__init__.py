"""Other libraries' methods behind the same interface."""
