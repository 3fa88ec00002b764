"""Mapping files: what columns of a table mean, as models, checks and expressions."""
