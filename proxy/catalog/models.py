"""The shape of config/proxy.yaml: one frozen pydantic model per section.

Every part of the project reads the service's description from a `Catalog`. What concerns several
sections at once (does a fallback exist, is a price in the right unit) is in `checks`.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import Self

Api = Literal["openai", "anthropic", "gemini"]
# What proxy/gateway/speed/ has, and proxy/render/litellm.py for those that are settings of LiteLLM's.
Lever = Literal[
    "registered_prices",
    "model_infos",
    "deployments",
    "garbage",
    "huge_pages",
    "settings",
    "cache_reads",
    "targets",
    "keys",
    "routes",
    "short_prompts",
    "threads",
    "sync_callbacks",
    "log_turns",
    "label_values",
    "limit_gauges",
    "cookies",
    "team_rows",
    "row_metadata",
    "row_sizes",
    "row_texts",
    "savings",
    "spend_rows",
    "valkey_trips",
    "valkey_callers",
    "mcp_later",
    "openai_replies",
    "openai_requests",
    "openai_ids",
    "openai_addresses",
    "stream_chunks",
    "stream_ends",
    "stream_cycles",
    "reply_cycles",
]


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("must be an IP address or a network such as 203.0.113.0/24, host bits zero") from None
    return text


def _base_url(text: str) -> str:
    """The URL without a slash at its end. What is wrong is told without repeating it: people paste keys here."""
    example = "write it as https://llm-gateway.your-company.com/v1"
    if text.partition("://")[0].lower() not in ("http", "https"):
        raise ValueError(f"a base URL starts with https:// or http://; {example}")
    if not text.isascii() or any(not character.isprintable() or character.isspace() for character in text):
        raise ValueError(f"a base URL has no spaces and no letters beyond ASCII; {example}")
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"this is no URL with a host and, if any, a port of 1 to 65535; {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL holds no user name or password; the key comes from key_env")
    if "?" in text or "#" in text:
        raise ValueError("a base URL ends with its path, without ? or #; the key comes from key_env")
    return text.rstrip("/")


# Letters and digits first: a leading dash would read as an option; `*` is LiteLLM's wildcard; a slash in
# an alias would read as provider/model.
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$")]
Upstream = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}$")]
ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,49}$")]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,99}$")]
# A path and all below it; the root would be everything.
PathBranch = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$")]
HealthPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/._-]*$")]
# A Kubernetes object name (RFC 1123 label) and the whole of a domain name.
KubernetesName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Domain = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$")]
BaseUrl = Annotated[
    str, AfterValidator(_base_url), Field(json_schema_extra={"pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s?#@]+$"})
]
PostgresUrl = Annotated[str, StringConstraints(pattern=r"^postgres(ql)?://\S+$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
CpuQuantity = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]*m|[0-9]+(\.[0-9]+)?)$")]
MemoryQuantity = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(Ki|Mi|Gi)$")]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


def _check_order(request: str, limit: str) -> None:
    """Kubernetes refuses a pod whose limit is below its request; both are quantities such as 500m or 1Gi."""
    if _amount(limit) < _amount(request):
        raise ValueError(f"limit ({limit}) is less than request ({request})")


def _amount(quantity: str) -> float:
    units = {"m": 0.001, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
    number = quantity.rstrip("mKMGi")
    return float(number) * units.get(quantity[len(number) :], 1.0)


class _Section(BaseModel):
    # strict: `true` is no number and "1000" no integer; a wrong type is a mistake to name, not to mend.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Provider(_Section):
    """An upstream service and where its key is found."""

    api: Api = Field(description="Wire format LiteLLM speaks to the provider.")
    key_env: EnvironmentName = Field(description="Name of the environment variable that holds the API key.")
    base_url: BaseUrl | None = Field(
        default=None,
        description="Where the API is reached, for a regional endpoint or a gateway; null or left out: the provider's "
        "own address. OpenAI's ends in /v1, Gemini's in /v1beta, Anthropic's goes without.",
    )


class PricePer1K(_Section):
    """US dollars per 1,000 tokens."""

    input: Price = Field(description="US dollars per 1,000 prompt tokens.")
    output: Price = Field(description="US dollars per 1,000 completion tokens.")


class Model(_Section):
    """A deployment: what an alias stands for."""

    provider: str = Field(description="A name under `providers`.")
    upstream: Upstream = Field(description="The provider's own name of the model.")
    temperature: float = Field(
        ge=0, le=2, allow_inf_nan=False, description="Sent when the client sends none; the client's wins."
    )
    context_window: int = Field(gt=0, le=100_000_000, description="Tokens a prompt may have (not `max_tokens`).")
    price_per_1k: PricePer1K = Field(description="US dollars per 1,000 tokens.")


class Limits(_Section):
    """What a single request, and a model within a minute, may take."""

    requests_per_minute: int = Field(gt=0, description="Requests per UTC minute for each model.")
    retries: int = Field(ge=0, le=20, description="Attempts after the first, before the fallback.")
    retry_delay_seconds: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = Field(
        description="Pause between two attempts."
    )
    request_timeout_seconds: Seconds = Field(
        description="Deadline of a whole request, its retries and fallbacks included."
    )
    max_body_mb: Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)] = Field(
        description="Larger request bodies are refused with 413. In MB of 1024 x 1024 bytes."
    )
    max_nesting: int = Field(gt=0, le=500, description="How deep the JSON of a request may go.")


class Breaker(_Section):
    """What becomes of requests while a model's provider is down."""

    enabled: bool = Field(default=True, description="false: every request makes all its attempts, outage or not.")
    failed_requests: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="A model counts as down after this many requests' worth of attempts have failed in a row, over at "
        "least the time that the retries of one take.",
    )
    probe_seconds: Annotated[float, Field(ge=0.1, le=600, allow_inf_nan=False)] = Field(
        default=4,
        description="Time between two probes of a model that is down: how long it takes to be noticed that it is back.",
    )
    without_fallback: Literal["refuse", "ask"] = Field(
        default="refuse",
        description="A request for a model that is down and has no chain: refuse it with 503 and a retry-after, or ask "
        "all the same.",
    )


class Speed(_Section):
    """What is changed in LiteLLM so that a request needs less CPU; replies stay as they are."""

    enabled: bool = Field(default=True, description="false: LiteLLM as it comes, all levers off.")
    without: list[Lever] = Field(default=[], description="Levers to leave off, by their names in proxy/gateway/speed/.")


class Gateway(_Section):
    """Where the gateway listens."""

    host: str = Field(
        min_length=1, pattern=r"^\S+$", description="Address to listen on; 127.0.0.1 is this machine only."
    )
    port: Port = Field(description="TCP port of the gateway.")
    workers: int = Field(ge=1, le=64, description="Worker processes.")


class Database(_Section):
    """PostgreSQL: the embedded one, or a server of the operator's."""

    url: PostgresUrl | None = Field(default=None, description="postgresql:// URL, or null for the embedded PostgreSQL.")


class Health(_Section):
    """Background probes of the models; GET /health answers from them."""

    interval_seconds: int = Field(gt=0, le=86_400, description="Time between two rounds of probes.")
    probe_timeout_seconds: int = Field(gt=0, le=600, description="A model that takes longer counts as unhealthy.")
    probe_max_tokens: int = Field(gt=0, le=1000, description="`max_tokens` of a probe, which is a real completion.")


class Tls(_Section):
    """HTTPS at the edge."""

    issuer: Literal["letsencrypt", "none"] = Field(
        description="Who signs the certificate, renewed by itself; none: plain HTTP."
    )
    email: Email | None = Field(default=None, description="Where Let's Encrypt writes to, or null.")


class Edge(_Section):
    """The public side: nginx on a VM, the ingress in Kubernetes."""

    domain: Domain | None = Field(default=None, description="Public name of the service, or null for none yet.")
    requests_per_second: int = Field(gt=0, description="Requests per second for each client IP.")
    burst_factor: int = Field(ge=1, description="The burst allowed is this many times requests_per_second.")
    allow: list[Network] = Field(description="Networks let in; an empty list lets all in.")
    closed_paths: list[PathBranch] = Field(
        default=["/metrics", "/_double"], description="Paths that answer 404 to the outside, with all below them."
    )
    tls: Tls = Field(description="HTTPS at the edge.")


class Replicas(_Section):
    """How many pods."""

    min: int = Field(ge=1, le=1000, description="Pods at the start and at least.")
    max: int = Field(ge=1, le=1000, description="Pods the autoscaler may reach.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is less than min ({self.min})")
        return self


class Cpu(_Section):
    """CPU of a pod, as Kubernetes writes it."""

    request: CpuQuantity = Field(description="CPU set aside for a pod, such as 500m.")
    limit: CpuQuantity = Field(description="CPU a pod may use, such as 1000m.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_order(self.request, self.limit)
        return self


class Memory(_Section):
    """Memory of a pod, as Kubernetes writes it."""

    request: MemoryQuantity = Field(description="Memory set aside for a pod, such as 1Gi.")
    limit: MemoryQuantity = Field(description="Memory a pod may use, such as 2Gi.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_order(self.request, self.limit)
        return self


class Probe(_Section):
    """A Kubernetes HTTP probe."""

    path: HealthPath = Field(description="Path asked with GET.")
    initial_delay_seconds: int = Field(ge=0, le=3600, description="Wait before the first probe.")
    period_seconds: int = Field(ge=1, le=3600, description="Time between two probes.")


class KubernetesDatabase(_Section):
    """Where the pods find PostgreSQL."""

    service: KubernetesName = Field(description="Name of the Kubernetes service.")
    port: Port = Field(description="TCP port of the Kubernetes service.")
    name: KubernetesName = Field(description="Name of the database.")


class Kubernetes(_Section):
    """The deployment on Kubernetes."""

    image: Image = Field(description="Container image of the gateway.")
    port: Port = Field(description="TCP port of the gateway in its pod.")
    replicas: Replicas = Field(description="How many pods.")
    cpu: Cpu = Field(description="CPU of a pod.")
    memory: Memory = Field(description="Memory of a pod.")
    liveness: Probe = Field(description="A pod that fails it is restarted.")
    readiness: Probe = Field(description="A pod that fails it gets no requests.")
    database: KubernetesDatabase = Field(description="Where the pods find PostgreSQL.")
    ingress_class: KubernetesName = Field(description="Ingress controller.")
    cluster_issuer: KubernetesName = Field(description="cert-manager issuer that signs the certificate.")


class Catalog(_Section):
    """The whole service: providers, models, fallback chains, limits and where it runs."""

    providers: dict[ProviderName, Provider] = Field(min_length=1, description="Providers in rank order.")
    models: dict[Alias, Model] = Field(min_length=1, description="Models by the alias clients ask for.")
    fallbacks: dict[str, list[str]] = Field(description="For an alias, the aliases asked in its place, in order.")
    limits: Limits = Field(description="Limits inside the gateway.")
    breaker: Breaker = Field(
        default_factory=Breaker, description="What becomes of requests while a model's provider is down."
    )
    speed: Speed = Field(default_factory=Speed, description="What makes LiteLLM need less CPU.")
    gateway: Gateway = Field(description="Where the gateway listens.")
    database: Database = Field(default_factory=Database, description="PostgreSQL.")
    health: Health = Field(description="Background probes of the models.")
    edge: Edge = Field(description="The public side.")
    kubernetes: Kubernetes = Field(description="The deployment on Kubernetes.")
