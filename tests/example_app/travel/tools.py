"""What the assistant's model may call: plain functions, and how they are described to a model."""

from __future__ import annotations

import json
from typing import Any

_WEATHER = {"Lisbon": "sunny, 24 °C", "Oslo": "snow, -3 °C", "Rome": "rain, 15 °C"}
_FLIGHTS = {("Berlin", "Lisbon"): 189, ("Berlin", "Rome"): 129}


def weather(city: str) -> str:
    if city not in _WEATHER:
        raise LookupError(f"no weather for {city}")
    return _WEATHER[city]


def flights(origin: str, destination: str) -> str:
    price = _FLIGHTS.get((origin, destination))
    return f"from {price} EUR" if price else "no flights"


def _described(name: str, description: str, *parameters: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {parameter: {"type": "string"} for parameter in parameters},
        "required": list(parameters),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


DESCRIBED = [
    _described("weather", "The weather in a city today.", "city"),
    _described("flights", "The cheapest flight between two cities.", "origin", "destination"),
]
_KNOWN = {"weather": weather, "flights": flights}


def run(name: str, arguments: str) -> str:
    """The tool's answer as text for the model. What goes wrong is told to the model too: it may do better."""
    if name not in _KNOWN:
        return f"error: there is no tool '{name}'"
    try:
        return _KNOWN[name](**json.loads(arguments))
    except (TypeError, ValueError, LookupError) as error:
        return f"error: {error}"
