"""Every setting of Atlas, read once from the environment, with all errors reported together.

Only `Settings.from_env` reads the environment; everything else gets a `Settings`.
Sizes and durations carry their unit in the name. `describe` prints them with secrets masked.
"""

import dataclasses
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.delivery.retry_schedule import (
    RETRY_SCHEDULES,
    EndpointClass,
    RetrySchedule,
    ScheduleInvalid,
    read_schedules,
)
from domain.guardrails.prices import PricesInvalid, Rates, read_prices
from domain.limits.quotas import Overrides, OverridesInvalid, Quota, read_overrides
from domain.security.networks import Network, read_network
from operations.kafka_security import Cluster, read_security
from operations.private_files import make_home, write_whole

DEFAULT_KAFKA_PORT = 9092
DEFAULT_SURFACE_PORT = 8080
DEFAULT_OPERATIONS_PORT = 9100
SURFACES = ("events", "work", "spine", "burn")
CATALOGS = ("open", "strict")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
PROCESSES = ("gateway", "admission", "control", "delivery", "projection", "lifecycle")
SECRET_FIELDS = frozenset({"master_key", "database_url", "schema_registry_url", "jwt_secret", "cloudflare", "llm"})
HOST = re.compile(r"([a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?")
JWKS_PLACE = re.compile(r"https://|http://(127\.0\.0\.1|localhost)[:/]|(?!\w+:)")
MEBIBYTE = 1024 * 1024
EDGE_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
EDGE_NAMES_TAKEN = frozenset({"api", "v1"})  # of the surface's own paths
EDGE_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?")
EDGE_PROVIDERS_EXAMPLE = '{"groq": "https://api.groq.com/openai/v1"}'
LLM_MODEL = "gpt-4o-mini"
LLM_PROVIDER = "atlas-work"
"""What the edge proxy calls the provider of `/v1/ai/*`."""
CLOUDFLARE_API_URL = "https://api.cloudflare.com/client/v4"
JWT_SECRET_BYTES_MIN = 32  # as long as the hash (RFC 7518, 3.2)


class SettingsInvalid(Exception):
    """The environment can't be used; the message names every faulty variable."""


@dataclass(frozen=True)
class Ports:
    """Where a development run listens; `base` moves all of it (`ATLAS_PORT_BASE`)."""

    base: int | None

    def surface(self, name: str) -> int:
        return (DEFAULT_SURFACE_PORT if self.base is None else self.base) + SURFACES.index(name)

    @property
    def kafka(self) -> int:
        return DEFAULT_KAFKA_PORT if self.base is None else self.base + 10

    @property
    def controller(self) -> int:
        return self.kafka + 1

    def operations(self, process: str) -> int:
        return (DEFAULT_OPERATIONS_PORT if self.base is None else self.base + 20) + PROCESSES.index(process)


@dataclass(frozen=True)
class CloudflareKv:
    """The KV namespace that mirrors kill flags to edge workers."""

    account_id: str
    namespace_id: str
    api_token: str
    api_url: str


@dataclass(frozen=True)
class LanguageModel:
    """The OpenAI-compatible provider of `/v1/ai/*`; `base_url` has no slash at its end."""

    base_url: str
    api_key: str
    model: str


@dataclass(frozen=True)
class Settings:
    home: Path
    ports: Ports
    kafka: Cluster
    master_key: bytes
    partitions: int
    database_url: str
    host: str
    metrics_port: int
    surfaces: tuple[str, ...]
    events_port: int
    work_port: int
    spine_port: int
    burn_port: int
    catalog: str
    schema_registry_url: str | None
    allow_private_targets: bool
    verdict_timeout_seconds: float
    append_timeout_seconds: float
    read_timeout_seconds: float
    attempt_timeout_seconds: float
    retry_schedules: Mapping[EndpointClass, RetrySchedule]
    session_seconds: float
    replays_per_second: int
    max_waiters: int
    drain_seconds: float
    rate_limits: bool
    rate_overrides: Overrides
    log_level: str
    allowed_hosts: frozenset[str] | None
    trusted_proxies: tuple[Network, ...]
    control_behind_seconds_max: float
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_secret: bytes | None
    jwt_jwks: str | None
    edge_providers: Mapping[str, str]
    edge_timeout_seconds: float
    edge_ask_usage: bool
    edge_forward_unreadable: bool
    edge_spool_bytes: int
    prices: Mapping[str, Rates]
    cloudflare: CloudflareKv | None
    llm: LanguageModel | None
    llm_timeout_seconds: float

    @classmethod
    def from_env(cls, env: Mapping[str, str], process: str = "gateway") -> "Settings":
        """Raises SettingsInvalid naming each variable that can't be used."""
        errors: list[str] = []
        ports = Ports(_integer(env, "ATLAS_PORT_BASE", None, 1024, 65_000, errors))
        home = home_directory(env)
        settings = cls(
            home=home,
            ports=ports,
            kafka=kafka_cluster(env, errors),
            master_key=_master_key(env, home, errors),
            partitions=_integer(env, "ATLAS_PARTITIONS", 8, 1, 1024, errors) or 8,
            database_url=env.get("DATABASE_URL", f"sqlite:///{home / 'read-model.sqlite'}"),
            host=env.get("ATLAS_HOST", "127.0.0.1"),
            metrics_port=_integer(env, "ATLAS_METRICS_PORT", ports.operations(process), 0, 65_535, errors) or 0,
            surfaces=_surfaces(env, errors),
            events_port=_integer(env, "ATLAS_EVENTS_PORT", ports.surface("events"), 0, 65_535, errors) or 0,
            work_port=_integer(env, "ATLAS_WORK_PORT", ports.surface("work"), 0, 65_535, errors) or 0,
            spine_port=_integer(env, "ATLAS_SPINE_PORT", ports.surface("spine"), 0, 65_535, errors) or 0,
            burn_port=_integer(env, "ATLAS_BURN_PORT", ports.surface("burn"), 0, 65_535, errors) or 0,
            catalog=_one_of(env, "ATLAS_CATALOG", CATALOGS, errors),
            schema_registry_url=env.get("SCHEMA_REGISTRY_URL") or None,
            allow_private_targets=env.get("ATLAS_ALLOW_PRIVATE_TARGETS", "") in ("1", "true", "yes"),
            verdict_timeout_seconds=_seconds(env, "ATLAS_VERDICT_TIMEOUT_SECONDS", 2.0, errors),
            append_timeout_seconds=_seconds(env, "ATLAS_APPEND_TIMEOUT_SECONDS", 2.0, errors),
            read_timeout_seconds=_seconds(env, "ATLAS_READ_TIMEOUT_SECONDS", 2.0, errors),
            attempt_timeout_seconds=_seconds(env, "ATLAS_ATTEMPT_TIMEOUT_SECONDS", 5.0, errors),
            retry_schedules=_retry_schedules(env, errors),
            session_seconds=_seconds(env, "ATLAS_SESSION_SECONDS", 6.0, errors),
            replays_per_second=_integer(env, "ATLAS_REPLAYS_PER_SECOND", 100, 1, 100_000, errors) or 100,
            max_waiters=_integer(env, "ATLAS_MAX_WAITERS", 20_000, 1, 1_000_000, errors) or 20_000,
            drain_seconds=_seconds(env, "ATLAS_DRAIN_SECONDS", 10.0, errors, least=0.0),
            rate_limits=_on_or_off(env, "ATLAS_RATE_LIMITS", errors),
            rate_overrides=_rate_overrides(env, errors),
            log_level=_log_level(env, errors),
            allowed_hosts=_hosts(env, "ATLAS_ALLOWED_HOSTS", errors),
            trusted_proxies=_networks(env, "ATLAS_TRUSTED_PROXIES", errors),
            control_behind_seconds_max=_seconds(env, "ATLAS_CONTROL_BEHIND_SECONDS_MAX", 60.0, errors),
            jwt_issuer=env.get("ATLAS_JWT_ISSUER") or None,
            jwt_audience=env.get("ATLAS_JWT_AUDIENCE") or None,
            jwt_secret=_jwt_secret(env, errors),
            jwt_jwks=env.get("ATLAS_JWT_JWKS") or None,
            edge_providers=_edge_providers(env, errors) | _work_provider(env),
            edge_timeout_seconds=_seconds(env, "ATLAS_EDGE_TIMEOUT_SECONDS", 600.0, errors),
            edge_ask_usage=_on_or_off(env, "ATLAS_EDGE_ASK_USAGE", errors),
            edge_forward_unreadable=_on_or_off(env, "ATLAS_EDGE_FORWARD_UNREADABLE", errors, otherwise="off"),
            edge_spool_bytes=MEBIBYTE * (_integer(env, "ATLAS_EDGE_SPOOL_MIB", 256, 1, 1_000_000, errors) or 256),
            prices=_prices(env, errors),
            cloudflare=_cloudflare(env, errors),
            llm=_language_model(env, errors),
            llm_timeout_seconds=_seconds(env, "ATLAS_LLM_TIMEOUT_SECONDS", 60.0, errors),
        )
        errors += _jwt_errors(settings)
        if errors:
            raise SettingsInvalid("; ".join(errors))
        return settings

    def surface_port(self, surface: str) -> int:
        port: int = getattr(self, f"{surface}_port")
        return port

    def describe(self) -> dict[str, str]:
        """Name and value of each setting as people write them; of a secret only whether there is one."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["retry_schedules"] = ";".join(f"{kind}:{schedule}" for kind, schedule in self.retry_schedules.items())
        values["prices"] = tuple(self.prices)
        values["ports"] = (
            f"from {self.ports.surface(SURFACES[0])}, {self.ports.kafka}, {self.ports.operations('gateway')}"
        )
        return {name: _shown(name, value) for name, value in values.items()}


def _shown(name: str, value: Any) -> str:
    if value is None or value == () or value == {}:
        return "(not set)"
    if name in SECRET_FIELDS:
        return "(set)"
    if isinstance(value, frozenset):
        value = tuple(sorted(value))
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def kafka_cluster(env: Mapping[str, str], errors: list[str]) -> Cluster:
    """`ATLAS_KAFKA`, and how it lets us in: all that a look at the cluster needs."""
    ports = Ports(_integer(env, "ATLAS_PORT_BASE", None, 1024, 65_000, []))
    servers = env.get("ATLAS_KAFKA") or f"127.0.0.1:{ports.kafka}"
    return Cluster(servers.replace(" ", ""), read_security(env, errors))


def status_targets(env: Mapping[str, str], errors: list[str]) -> list[str]:
    """Operations ports that `atlas status` asks: `host:port` with commas between."""
    targets = [part.strip() for part in env.get("ATLAS_STATUS_TARGETS", "").split(",") if part.strip()]
    errors += [
        f"ATLAS_STATUS_TARGETS must be host:port with commas between, not {one!r}"
        for one in targets
        if HOST.fullmatch(one.lower()) is None or ":" not in one
    ]
    return targets


def home_directory(env: Mapping[str, str]) -> Path:
    """Where an installation keeps its files: `ATLAS_HOME`, else `.atlas` in the current directory."""
    return Path(env.get("ATLAS_HOME") or ".atlas").expanduser().absolute()


def ensure_master_key(home: Path) -> bytes:
    """The installation's master key, made once where there is none: of two processes that make one at once both get
    the same. Only `atlas up` and tests make one. Raises SettingsInvalid where the file has none in it.
    """
    path = home / "master.key"
    make_home(home)
    if not path.exists():
        write_whole(path, f"{secrets.token_hex(32)}\n".encode(), replace=False)
    errors: list[str] = []
    key = _master_key({}, home, errors)
    if errors:
        raise SettingsInvalid("\n".join(errors))
    return key


def _master_key(env: Mapping[str, str], home: Path, errors: list[str]) -> bytes:
    written = env.get("ATLAS_MASTER_KEY")
    path = home / "master.key"
    if written is None and path.exists():
        written = path.read_text().strip()
    if written is None:
        errors.append(f"ATLAS_MASTER_KEY is not set and {path} does not exist: `atlas up` makes one")
        return b""
    if not re.fullmatch(r"[0-9a-f]{64}", written):
        where = "ATLAS_MASTER_KEY" if "ATLAS_MASTER_KEY" in env else str(path)
        errors.append(f"{where} must be 64 hexadecimal digits")
        return b""
    return bytes.fromhex(written)


def _integer(
    env: Mapping[str, str], name: str, default: int | None, least: int, most: int, errors: list[str]
) -> int | None:
    written = env.get(name)
    if written is None or written == "":
        return default
    if re.fullmatch(r"[0-9]{1,9}", written) and least <= int(written) <= most:
        return int(written)
    errors.append(f"{name} must be a whole number from {least} to {most}, not {written!r}")
    return default


def _surfaces(env: Mapping[str, str], errors: list[str]) -> tuple[str, ...]:
    """Names with commas between; without, all that there are."""
    names = (name.strip() for name in env.get("ATLAS_SURFACES", "").split(","))
    written = tuple(dict.fromkeys(filter(None, names)))  # each once: it has one port
    unknown = [name for name in written if name not in SURFACES]
    if unknown:
        errors.append(f"ATLAS_SURFACES names {', '.join(unknown)}; there are {', '.join(SURFACES)}")
    return written or SURFACES


def _one_of(env: Mapping[str, str], name: str, choices: tuple[str, ...], errors: list[str]) -> str:
    """The first is what holds without."""
    written = env.get(name) or choices[0]
    if written not in choices:
        errors.append(f"{name} must be {' or '.join(choices)}, not {written!r}")
    return written


def _log_level(env: Mapping[str, str], errors: list[str]) -> str:
    written = (env.get("ATLAS_LOG_LEVEL") or "INFO").upper()
    if written not in LOG_LEVELS:
        errors.append(f"ATLAS_LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, not {written!r}")
    return written


def _on_or_off(env: Mapping[str, str], name: str, errors: list[str], otherwise: str = "on") -> bool:
    """`otherwise`: what holds where it says nothing."""
    written = env.get(name) or otherwise
    if written not in ("on", "off"):
        errors.append(f"{name} must be on or off, not {written!r}")
    return written == "on"


def _rate_overrides(env: Mapping[str, str], errors: list[str]) -> Overrides:
    """Of both variables; the second is the work surface's own, with its classes' short names (W-038)."""
    overrides: dict[str, dict[str, Quota]] = {}
    written = {
        "ATLAS_RATE_OVERRIDES": (env.get("ATLAS_RATE_OVERRIDES"), ""),
        "PUBLIC_API_RATE_OVERRIDES": (env.get("PUBLIC_API_RATE_OVERRIDES"), "work."),
    }
    for name, (text, prefix) in written.items():
        try:
            for workspace, quotas in read_overrides(text or "{}", prefix).items():
                overrides.setdefault(workspace, {}).update(quotas)
        except OverridesInvalid as invalid:
            errors.append(f"{name} {invalid}")
    return overrides


def _seconds(env: Mapping[str, str], name: str, default: float, errors: list[str], least: float | None = None) -> float:
    """`least`: None where it must be above 0."""
    written = env.get(name)
    if written is None or written == "":
        return default
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", written) and (float(written) > 0 or least == 0):
        return float(written)
    errors.append(f"{name} must be a number of seconds{'' if least == 0 else ' above 0'}, not {written!r}")
    return default


def _retry_schedules(env: Mapping[str, str], errors: list[str]) -> Mapping[EndpointClass, RetrySchedule]:
    try:
        return read_schedules(env.get("ATLAS_RETRY_LADDER", ""))
    except ScheduleInvalid as invalid:
        errors.append(f"ATLAS_RETRY_LADDER: {invalid}")
        return RETRY_SCHEDULES


def _hosts(env: Mapping[str, str], name: str, errors: list[str]) -> frozenset[str] | None:
    """Names or addresses, with a port or without, with commas between; None without any."""
    hosts = frozenset(filter(None, (part.strip().lower() for part in env.get(name, "").split(","))))
    for wrong in sorted(host for host in hosts if HOST.fullmatch(host) is None):
        errors.append(
            f"{name} must be names or addresses (api.example.com, [::1]:8080) with commas between, not {wrong!r}"
        )
    return hosts or None


def _networks(env: Mapping[str, str], name: str, errors: list[str]) -> tuple[Network, ...]:
    """Addresses and networks with commas between."""
    networks = []
    for written in filter(None, (part.strip() for part in env.get(name, "").split(","))):
        try:
            networks.append(read_network(written))
        except ValueError:
            errors.append(f"{name} must be addresses or networks (10.0.0.0/8) with commas between, not {written!r}")
    return tuple(networks)


def _edge_providers(env: Mapping[str, str], errors: list[str]) -> dict[str, str]:
    """Base URLs by provider, without a slash at the end."""
    try:
        written = json.loads(env.get("ATLAS_EDGE_PROVIDERS") or "{}")
        fit = {name: url.rstrip("/") for name, url in written.items() if _is_provider(name, url)}
    except (ValueError, AttributeError):
        fit, written = {}, {"": ""}
    if len(fit) < len(written) or LLM_PROVIDER in fit:
        errors.append(f"ATLAS_EDGE_PROVIDERS must be JSON like {EDGE_PROVIDERS_EXAMPLE}: names of a-z, 0-9 and -")
    return fit


def _prices(env: Mapping[str, str], errors: list[str]) -> Mapping[str, Rates]:
    """Of the file that `ATLAS_PRICES` names."""
    path = env.get("ATLAS_PRICES")
    if not path:
        return {}
    try:
        return read_prices(Path(path).read_text(encoding="utf-8"))
    except PricesInvalid as invalid:
        errors += [f"ATLAS_PRICES {path}: {error}" for error in invalid.errors]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        errors.append(f"ATLAS_PRICES {path} can't be read: {reason}")
    return {}


def _work_provider(env: Mapping[str, str]) -> dict[str, str]:
    base_url = env.get("ATLAS_LLM_BASE_URL", "").rstrip("/")
    return {LLM_PROVIDER: base_url} if base_url else {}


def _is_provider(name: str, url: str) -> bool:
    return bool(EDGE_NAME.fullmatch(name)) and name not in EDGE_NAMES_TAKEN and bool(EDGE_URL.fullmatch(url))


def _language_model(env: Mapping[str, str], errors: list[str]) -> LanguageModel | None:
    """None unless a base URL is set; a local server may need no key."""
    base_url = env.get("ATLAS_LLM_BASE_URL", "").rstrip("/")
    if not base_url:
        return None
    if EDGE_URL.fullmatch(base_url) is None:
        errors.append("ATLAS_LLM_BASE_URL must be a URL without query, such as https://api.openai.com/v1")
    return LanguageModel(base_url, env.get("ATLAS_LLM_API_KEY", ""), env.get("ATLAS_LLM_MODEL") or LLM_MODEL)


def _cloudflare(env: Mapping[str, str], errors: list[str]) -> CloudflareKv | None:
    """None unless all three are set."""
    account_id, namespace_id = env.get("CF_ACCOUNT_ID", ""), env.get("CF_KV_NAMESPACE_ID", "")
    api_token = env.get("CF_API_TOKEN", "")
    if not (account_id or namespace_id or api_token):
        return None
    if not (account_id and namespace_id and api_token):
        errors.append("CF_ACCOUNT_ID, CF_KV_NAMESPACE_ID and CF_API_TOKEN must be set together")
    api_url = (env.get("CF_API_URL") or CLOUDFLARE_API_URL).rstrip("/")
    if EDGE_URL.fullmatch(api_url) is None:
        errors.append("CF_API_URL must be a URL without query")
    return CloudflareKv(account_id, namespace_id, api_token, api_url)


def _jwt_secret(env: Mapping[str, str], errors: list[str]) -> bytes | None:
    secret = env.get("ATLAS_JWT_SECRET", "").encode("utf-8", "surrogateescape")
    if secret and len(secret) < JWT_SECRET_BYTES_MIN:
        errors.append(f"ATLAS_JWT_SECRET must have {JWT_SECRET_BYTES_MIN} bytes or more")
    return secret or None


def _jwt_errors(settings: Settings) -> list[str]:
    """Sessions are verified by one kind of key, and only those issued for Atlas."""
    if settings.jwt_secret is None and settings.jwt_jwks is None:
        return []
    errors = []
    if settings.jwt_secret is not None and settings.jwt_jwks is not None:
        errors.append("ATLAS_JWT_SECRET and ATLAS_JWT_JWKS can't both be set")
    if settings.jwt_issuer is None or settings.jwt_audience is None:
        errors.append("ATLAS_JWT_ISSUER and ATLAS_JWT_AUDIENCE must be set where sessions are verified")
    if settings.jwt_jwks is not None and JWKS_PLACE.match(settings.jwt_jwks) is None:
        errors.append("ATLAS_JWT_JWKS must be a https URL (http on this machine) or a file")
    return errors
