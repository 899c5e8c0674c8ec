"""Cassettes: exchanges with the real providers, recorded once into a YAML file and replayed by the simulator.

`model` is the file's shape, `notation` how bytes are written in it, `scrub` what never gets into it, `load` and
`tape` the file itself. `recorder` is the server between LiteLLM and the providers (`python -m
proxy.simulator.cassettes`); `replay` answers from a cassette.
"""
