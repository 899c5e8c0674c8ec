"""The words of config/proxy.yaml's mistakes: what people write who know a thing by its other name, and right forms."""

from __future__ import annotations

from proxy.catalog.explain import Words
from proxy.catalog.models import Catalog

OTHER_NAMES = {
    "max_tokens": "context_window",
    "max_input_tokens": "context_window",
    "model": "upstream",
    "rpm": "requests_per_minute",
    "rps": "requests_per_second",
    "num_retries": "retries",
    "retry_after": "retry_delay_seconds",
    "timeout": "request_timeout_seconds",
    "request_timeout": "request_timeout_seconds",
    "api_key": "key_env",
    "api_base": "base_url",
    "endpoint": "base_url",
    "price": "price_per_1k",
    "cost": "price_per_1k",
    "replicas.initial": "min",
}

RIGHT_FORM = {
    "models": "an alias starts with a letter or digit and has only letters, digits and . _ : - in it",
    "providers": "a provider's name is in lower case: letters, digits, - and _",
    "upstream": "a model's name has only letters, digits and . _ : / @ - in it, and no spaces",
    "key_env": "this is the NAME of an environment variable, such as OPENAI_API_KEY, never the key itself",
    "path": "a path starts with /",
    "image": "an image is written registry/name:tag",
    "url": "a PostgreSQL URL is written postgresql://user@host:5432/database",
    "domain": "a domain is written llm.your-company.com, in lower case, without https://",
    "email": "an address is written name@your-company.com",
    "host": "an address is written 127.0.0.1 or 0.0.0.0",
    "cpu": "CPU is written 500m (thousandths of a core) or 1",
    "memory": "memory is written 512Mi or 1Gi",
}

SECRET = frozenset({"key_env", "url"})
"""People paste keys and passwords here."""

WORDS = Words(Catalog, OTHER_NAMES, RIGHT_FORM, SECRET)
