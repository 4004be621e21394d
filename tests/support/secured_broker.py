"""A broker with a second listener that lets nobody in without TLS, a certificate of theirs, and a password."""

from pathlib import Path

from deploy.local.broker import Broker
from tests.support.certificates import a_certificate
from tests.support.ports import free_port

USER, PASSWORD = "atlas", "hunter2-hunter2"


class SecuredBroker(Broker):
    """`env`: how a process is told to use that listener."""

    def __init__(self, home: Path, port: int, controller_port: int, heap_mb: int = 256) -> None:
        super().__init__(home, port, controller_port, heap_mb)
        self.secured_port = free_port()

    def prepare(self) -> None:
        super().prepare()
        a_certificate(self.home, "127.0.0.1")
        jaas = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        own = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port},"
            f"CLIENTS://127.0.0.1:{self.secured_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port},CLIENTS://localhost:{self.secured_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.name.clients.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.clients.plain.sasl.jaas.config": jaas,
            "listener.name.clients.ssl.client.auth": "required",
            "listener.name.clients.ssl.keystore.type": "PEM",
            "listener.name.clients.ssl.keystore.location": self.home / "certificate.pem",
            "listener.name.clients.ssl.truststore.type": "PEM",
            "listener.name.clients.ssl.truststore.location": self.home / "trusted.pem",
        }
        kept = [line for line in self._properties.read_text().splitlines() if line.partition("=")[0] not in own]
        lines = [*kept, *(f"{name}={value}" for name, value in own.items())]
        self._properties.write_text("\n".join(lines) + "\n")

    @property
    def env(self) -> dict[str, str]:
        return {
            "ATLAS_KAFKA": f"localhost:{self.secured_port}",
            "ATLAS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "ATLAS_KAFKA_SASL_USERNAME": USER,
            "ATLAS_KAFKA_SASL_PASSWORD": PASSWORD,
            "ATLAS_KAFKA_SSL_CA": str(self.home / "trusted.pem"),
            "ATLAS_KAFKA_SSL_CERTIFICATE": str(self.home / "certificate.pem"),
            "ATLAS_KAFKA_SSL_KEY": str(self.home / "certificate.pem"),
        }
