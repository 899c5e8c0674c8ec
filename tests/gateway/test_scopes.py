"""Which scope of the double a request or a control call is about."""

from __future__ import annotations

import hashlib

import pytest

from proxy.gateway.errors import Refusal
from proxy.gateway.scopes import controlled_scope, named_scope, own_scope, upstream_headers

TOKEN = hashlib.sha256(b"a virtual key").hexdigest()
OWN = f"key-{TOKEN[:16]}"


def test_a_key_has_a_scope_of_its_own_and_the_master_key_the_default():
    assert own_scope(TOKEN) == OWN
    assert own_scope(None) == "default"


@pytest.mark.parametrize("name", ["a", "A-1._", "x" * 100])
def test_a_request_may_name_its_scope(name):
    assert named_scope([(b"accept", b"*/*"), (b"x-double-scope", name.encode())]) == name


@pytest.mark.parametrize("name", ["", "a b", "a/b", "*", "x" * 101, "ä", "a\nb"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(Refusal, match="x-double-scope") as refused:
        named_scope([(b"x-double-scope", name.encode("latin-1"))])
    assert refused.value.status == 400


def test_upstream_requests_carry_the_scope_named_or_the_keys_and_the_call():
    assert upstream_headers(TOKEN, None, "call") == {"x-double-scope": OWN, "x-double-request": "call"}
    assert upstream_headers(TOKEN, "mine", None) == {"x-double-scope": "mine"}
    assert upstream_headers(None, None, "call")["x-double-scope"] == "default"


@pytest.mark.parametrize(
    ("token", "asked", "named", "scope"),
    [
        (None, None, None, "default"),
        (None, "any", None, "any"),
        (None, None, "any", "any"),
        (None, "*", None, "*"),
        (TOKEN, None, None, OWN),
        (TOKEN, OWN, None, OWN),
        (TOKEN, None, "mine", "mine"),
        (TOKEN, "mine", "mine", "mine"),
        (TOKEN, OWN, "mine", OWN),
    ],
)
def test_the_scope_of_a_control_call(token, asked, named, scope):
    assert controlled_scope(token, asked, named) == scope


@pytest.mark.parametrize("asked", ["*", "default", "other"])
def test_a_virtual_key_strays_into_no_other_scope(asked):
    with pytest.raises(Refusal, match=OWN) as refused:
        controlled_scope(TOKEN, asked, "mine")
    assert refused.value.status == 403
