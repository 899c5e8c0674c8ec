"""How much a deployment holds: a short load, and what it says. Called by `litellm-local bench`."""

from proxy.bench.deployment import BenchError, a_key, mode_of, models_of
from proxy.bench.load import Load, Loaded, run_load
from proxy.bench.verdict import Used, sentences

__all__ = ["BenchError", "Load", "Loaded", "Used", "a_key", "mode_of", "models_of", "run_load", "sentences"]
