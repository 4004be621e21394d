"""A broker with a second listener that lets nobody in without TLS, a certificate of theirs, and a password."""

from pathlib import Path

from deploy.local.broker import Broker
from tests.support.certificates import a_certificate
from tests.support.ports import free_port

USER, PASSWORD = "atlas", "hunter2-hunter2"


class SecuredBroker(Broker):
    """`env`: how a process is told to use that listener."""

    def __init__(self, home: Path, port: int, controller_port: int, heap_mb: int = 256) -> None:
        self.secured_port = free_port()
        super().__init__(home, port, controller_port, heap_mb, properties=self._listeners(home, port, controller_port))

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        a_certificate(self.home, "127.0.0.1")
        super().prepare()

    def _listeners(self, home: Path, port: int, controller_port: int) -> dict[str, str]:
        jaas = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        return {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port},"
            f"CLIENTS://127.0.0.1:{self.secured_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},CLIENTS://localhost:{self.secured_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.name.clients.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.clients.plain.sasl.jaas.config": jaas,
            "listener.name.clients.ssl.client.auth": "required",
            "listener.name.clients.ssl.keystore.type": "PEM",
            "listener.name.clients.ssl.keystore.location": str(home / "certificate.pem"),
            "listener.name.clients.ssl.truststore.type": "PEM",
            "listener.name.clients.ssl.truststore.location": str(home / "trusted.pem"),
        }

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
