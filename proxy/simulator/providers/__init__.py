"""The providers' wire formats: one module each, and what they share (wire.py)."""
