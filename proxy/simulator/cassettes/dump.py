"""An exchange -> the lines of YAML that stand for it in a cassette.

Texts of several lines, and long ones, are literal blocks; an event of a stream is one line; what another YAML reader
could take for a number, a date or a boolean is quoted. Whatever PyYAML would not give back the same is written in
quotes throughout.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from proxy.catalog.source import Source, parse
from proxy.simulator.cassettes.model import Exchange

LONG = 90  # characters of a text that goes into a block of its own

HEADING = """\
# A cassette of litellm-local: exchanges with the providers, in the order of their requests. Keys, cookies and
# account headers are left out. Replay it with: litellm-local double replay FILE
version: 1
exchanges:
"""

_OTHER_BREAKS = "\r\x85\u2028\u2029"


class _Dumper(yaml.SafeDumper):
    """Two levels of quoting: `careful` writes every text in double quotes."""

    careful = False

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's
        # Lists within mappings are indented, as editors do it.
        super().increase_indent(flow, False)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


class _Line(dict[str, Any]):
    """A mapping that is written on one line."""


class _CarefulDumper(_Dumper):
    careful = True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    # Blank lines at the end of a block are lost on an editor that trims them.
    if dumper.careful or any(mark in text for mark in _OTHER_BREAKS) or text.isspace() or text.endswith("\n\n"):
        style = '"'
    elif "\n" in text or len(text) > LONG:
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _line(dumper: _Dumper, mapping: _Line) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping, flow_style=True)


def _number(dumper: _Dumper, number: float) -> yaml.ScalarNode:
    text = repr(number)
    if "e" in text and "." not in text:  # YAML 1.1 readers take 1e-05 for text
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


# What only YAML 1.2 takes for a number, as `source` does.
_NUMBER = re.compile(r"^[-+]?\.?[0-9][-+.eE0-9]*$")

for _dumper in (_Dumper, _CarefulDumper):
    _dumper.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))
    _dumper.add_representer(str, _text)
    _dumper.add_representer(float, _number)
    _dumper.add_representer(_Line, _line)


def exchange_text(exchange: Exchange) -> str:
    """The exchange as an item of the list `exchanges`."""
    data = shown(exchange)
    lined = _lined(data)
    for dumper in (_Dumper, _CarefulDumper):
        text = yaml.dump(
            [lined], Dumper=dumper, sort_keys=False, allow_unicode=True, width=1_000_000, default_flow_style=False
        )
        read: Source = parse(text.encode())
        if not read.problems and _same(read.data, [data]):
            return "".join(f"  {line}\n" if line else "\n" for line in text.split("\n")[:-1])
    raise AssertionError("YAML does not give back an exchange as it was")


def _lined(data: dict[str, Any]) -> dict[str, Any]:
    response = data.get("response", {})
    if "chunks" not in response:
        return data
    chunks = [
        {**chunk, "json": _Line(chunk["json"])} if isinstance(chunk.get("json"), dict) else chunk
        for chunk in response["chunks"]
    ]
    return {**data, "response": {**response, "chunks": chunks}}


def shown(exchange: Exchange) -> dict[str, Any]:
    """The exchange as plain data in the order of its fields, what has its default value left out."""
    return _part(exchange)


def _part(part: Any) -> dict[str, Any]:
    """A model as data. The bytes come last: they are long."""
    fields = type(part).model_fields
    last = ("json_", "data", "text", "base64", "chunks")
    result: dict[str, Any] = {}
    for name in sorted(fields, key=lambda name: name in last):
        value = getattr(part, name)
        given = name in part.model_fields_set
        required = fields[name].is_required()
        if not (required or (given and (value != fields[name].default or name in last))):
            continue
        if value is None and name != "json_":
            continue
        result[fields[name].alias or name] = _value(value)
    return result


def _value(value: Any) -> Any:
    if hasattr(value, "model_fields_set"):
        return _part(value)
    if isinstance(value, list) and value and hasattr(value[0], "model_fields_set"):
        return [_part(item) for item in value]
    return value


def _same(left: Any, right: Any) -> bool:
    """Equal, types included: 1, 1.0 and true are three things."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
