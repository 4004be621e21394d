"""How clients of Kafka are let in: plain, by TLS, by SASL, or both. One set of settings for every client of a process.

Kafka is reached by two libraries: librdkafka for records, aiokafka (in Faust) for group membership. A `Cluster` is the
text of the bootstrap servers with the security settings attached, so that code that gets one gets the other.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """`certificate` and `key` are this client's own, for brokers that ask. `ca`: whom to trust; else the system's."""

    protocol: str = PROTOCOLS[0]
    mechanism: str = MECHANISMS[0]
    username: str = ""
    password: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def encrypts(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def names_a_user(self) -> bool:
        return self.protocol.startswith("SASL")

    def librdkafka(self) -> dict[str, str]:
        """Its configuration; nothing for a plain connection."""
        files = {
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
        }
        config = {name: str(path) for name, path in files.items() if path is not None and self.encrypts}
        if self.names_a_user:
            config |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        return config | ({} if self.protocol == PROTOCOLS[0] else {"security.protocol": self.protocol})

    def tls(self) -> ssl.SSLContext | None:
        """None where nothing is encrypted. Raises OSError (ssl.SSLError) for files that can't be used."""
        if not self.encrypts:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


class Cluster(str):
    """Bootstrap servers with commas between; it is that text wherever one is wanted."""

    security: KafkaSecurity

    def __new__(cls, servers: str, security: KafkaSecurity) -> Self:
        cluster = super().__new__(cls, servers)
        cluster.security = security
        return cluster


def security_of(bootstrap: str) -> KafkaSecurity:
    return bootstrap.security if isinstance(bootstrap, Cluster) else KafkaSecurity()


def read_security(env: Mapping[str, str], errors: list[str]) -> KafkaSecurity:
    """What the environment says, and what is wrong with it."""
    security = KafkaSecurity(
        protocol=env.get("ATLAS_KAFKA_SECURITY_PROTOCOL") or PROTOCOLS[0],
        mechanism=env.get("ATLAS_KAFKA_SASL_MECHANISM") or MECHANISMS[0],
        username=env.get("ATLAS_KAFKA_SASL_USERNAME", ""),
        password=env.get("ATLAS_KAFKA_SASL_PASSWORD", ""),
        ca=_path(env.get("ATLAS_KAFKA_SSL_CA")),
        certificate=_path(env.get("ATLAS_KAFKA_SSL_CERTIFICATE")),
        key=_path(env.get("ATLAS_KAFKA_SSL_KEY")),
    )
    errors += _errors_of(security)
    return security


def _errors_of(security: KafkaSecurity) -> list[str]:
    errors = []
    if security.protocol not in PROTOCOLS:
        errors.append(f"ATLAS_KAFKA_SECURITY_PROTOCOL must be one of {', '.join(PROTOCOLS)}")
    if security.mechanism not in MECHANISMS:
        errors.append(f"ATLAS_KAFKA_SASL_MECHANISM must be one of {', '.join(MECHANISMS)}")
    if bool(security.username and security.password) != security.names_a_user:
        errors.append("ATLAS_KAFKA_SASL_USERNAME and _PASSWORD belong to a SASL protocol, and it needs both")
    files = {"CA": security.ca, "CERTIFICATE": security.certificate, "KEY": security.key}
    for name, path in files.items():
        if path is not None and not (security.encrypts and path.is_file()):
            errors.append(f"ATLAS_KAFKA_SSL_{name} must be a file, with a protocol that encrypts")
    if security.key is not None and security.certificate is None:
        errors.append("ATLAS_KAFKA_SSL_KEY needs ATLAS_KAFKA_SSL_CERTIFICATE")
    return errors


def _path(written: str | None) -> Path | None:
    return Path(written).expanduser().absolute() if written else None
