"""What LiteLLM's import brings along and hardly any gateway uses is loaded when it is used: a third of the memory, and
of the start.

`before_import` is to be called before LiteLLM is imported, `after_import` after it, each once.
"""

from __future__ import annotations

from proxy.gateway.lazy import fastapi, modules, packages, prisma


def before_import() -> None:
    prisma.install()
    modules.install()
    packages.install()
    fastapi.install()


def after_import() -> None:
    from proxy.gateway.lazy import litellm  # it imports what it changes

    litellm.install()
