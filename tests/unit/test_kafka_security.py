"""How clients of Kafka are let in: what the environment says, as both libraries want it."""

import ssl
from pathlib import Path

import pytest

from operations.kafka_clients import admin_config, producer_config, reader_config
from operations.settings import Settings, SettingsInvalid
from processors.runtime.app import create_app
from tests.support.certificates import a_certificate

PROTOCOL = "ATLAS_KAFKA_SECURITY_PROTOCOL"
USER = {"ATLAS_KAFKA_SASL_USERNAME": "atlas", "ATLAS_KAFKA_SASL_PASSWORD": "hunter2-hunter2"}


def settings(home: Path, **env: str) -> Settings:
    return Settings.from_env({"ATLAS_HOME": str(home), "ATLAS_MASTER_KEY": "00" * 32, "ATLAS_KAFKA": "a:1,b:2", **env})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    a_certificate(tmp_path, "127.0.0.1")
    names = {"CA": "trusted.pem", "CERTIFICATE": "certificate.pem", "KEY": "certificate.pem"}
    return {f"ATLAS_KAFKA_SSL_{name}": str(tmp_path / file) for name, file in names.items()}


def security_in(config: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in config.items() if name.startswith(("security.", "sasl.", "ssl."))}


def test_without_a_word_the_connection_is_plain(tmp_path: Path) -> None:
    kafka = settings(tmp_path).kafka
    assert kafka == "a:1,b:2" and kafka.security.tls() is None
    for config in (admin_config(kafka), producer_config(kafka), reader_config(kafka, "g")):
        assert config["bootstrap.servers"] == "a:1,b:2" and security_in(config) == {}
    assert security_in(admin_config("a:1")) == {}, "a plain text is a cluster too"


def test_several_brokers_are_told_to_both_libraries(tmp_path: Path) -> None:
    read = settings(tmp_path, ATLAS_KAFKA="k1.example:9092, k2.example:9093,[::1]:9094")
    app = create_app(read, "test")
    assert app.cluster == "k1.example:9092,k2.example:9093,[::1]:9094"
    assert [(url.host, url.port) for url in app.conf.broker_consumer] == [
        ("k1.example", 9092),
        ("k2.example", 9093),
        ("::1", 9094),
    ]


def test_every_client_of_librdkafka_has_the_same(tmp_path: Path, files: dict[str, str]) -> None:
    env = {PROTOCOL: "SASL_SSL", "ATLAS_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", **USER, **files}
    kafka = settings(tmp_path, **env).kafka
    wanted = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "atlas",
        "sasl.password": "hunter2-hunter2",
        "ssl.ca.location": files["ATLAS_KAFKA_SSL_CA"],
        "ssl.certificate.location": files["ATLAS_KAFKA_SSL_CERTIFICATE"],
        "ssl.key.location": files["ATLAS_KAFKA_SSL_KEY"],
    }
    for config in (admin_config(kafka), producer_config(kafka), reader_config(kafka, "g")):
        assert security_in(config) == wanted


@pytest.mark.parametrize(
    ("protocol", "env", "told"),
    [
        ("SSL", {}, ("SSL", None, None)),
        ("SASL_PLAINTEXT", USER, ("SASL_PLAINTEXT", "PLAIN", "atlas")),
        ("SASL_SSL", {**USER, "ATLAS_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}, ("SASL_SSL", "SCRAM-SHA-256", "atlas")),
    ],
)
def test_faust_is_told_the_same(
    tmp_path: Path, files: dict[str, str], protocol: str, env: dict[str, str], told: tuple[str | None, ...]
) -> None:
    trust = {} if protocol == "SASL_PLAINTEXT" else files
    credentials = create_app(settings(tmp_path, **{PROTOCOL: protocol}, **env, **trust), "test").conf.broker_credentials
    mechanism, username = getattr(credentials, "mechanism", None), getattr(credentials, "username", None)
    assert (credentials.protocol.value, mechanism and mechanism.value, username) == told
    context = getattr(credentials, "context", None) or credentials.ssl_context
    if protocol == "SASL_PLAINTEXT":
        assert context is None
    else:
        assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
        assert context.cert_store_stats()["x509"] == 1, "trusts the file alone"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({PROTOCOL: "TLS"}, "ATLAS_KAFKA_SECURITY_PROTOCOL must be one of PLAINTEXT, SSL"),
        ({PROTOCOL: "SASL_SSL"}, "ATLAS_KAFKA_SASL_USERNAME and _PASSWORD belong to a SASL protocol"),
        ({PROTOCOL: "SASL_SSL", "ATLAS_KAFKA_SASL_USERNAME": "a"}, "and it needs both"),
        (USER, "belong to a SASL protocol"),
        ({PROTOCOL: "SASL_SSL", **USER, "ATLAS_KAFKA_SASL_MECHANISM": "GSSAPI"}, "must be one of PLAIN, SCRAM"),
        ({PROTOCOL: "SSL", "ATLAS_KAFKA_SSL_CA": "/nowhere.pem"}, "ATLAS_KAFKA_SSL_CA must be a file"),
        ({"ATLAS_KAFKA_SSL_CA": __file__}, "with a protocol that encrypts"),
        ({PROTOCOL: "SSL", "ATLAS_KAFKA_SSL_KEY": __file__}, "ATLAS_KAFKA_SSL_KEY needs ATLAS_KAFKA_SSL_CERTIFICATE"),
    ],
)
def test_what_does_not_fit_is_named_and_no_password_told(tmp_path: Path, env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said) as refused:
        settings(tmp_path, **env)
    assert "hunter2" not in str(refused.value)


@pytest.mark.requirement("A10")
def test_the_password_is_shown_nowhere(tmp_path: Path) -> None:
    read = settings(tmp_path, **{PROTOCOL: "SASL_PLAINTEXT"}, **USER)
    assert "hunter2" not in f"{read.describe()}{read.kafka}{read.kafka!r}{read!r}"
