"""Rendered files: pure functions from the catalogue to what other programs read."""
