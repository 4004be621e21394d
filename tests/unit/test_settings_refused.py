"""What each setting refuses, and how that is said; the ones that take any text are named."""

from pathlib import Path

import pytest

from operations.settings import Settings, SettingsInvalid
from tests.traceability.meanings import SETTINGS

SECONDS = "must be a number of seconds above 0"
ON_OFF = "must be on or off"
PORT = "must be a whole number from 0 to 65535"
CLOUDFLARE = "CF_ACCOUNT_ID, CF_KV_NAMESPACE_ID and CF_API_TOKEN must be set together"
REFUSED = [
    ("ATLAS_PORT_BASE", "80", "must be a whole number from 1024 to 65000, not '80'"),
    ("ATLAS_PARTITIONS", "0", "must be a whole number from 1 to 1024, not '0'"),
    ("ATLAS_PARTITIONS", "eight", "must be a whole number from 1 to 1024, not 'eight'"),
    ("ATLAS_METRICS_PORT", "65536", PORT),
    ("ATLAS_EVENTS_PORT", "http", PORT),
    ("ATLAS_WORK_PORT", "-1", PORT),
    ("ATLAS_SPINE_PORT", "70000", PORT),
    ("ATLAS_BURN_PORT", "1.5", PORT),
    ("ATLAS_MASTER_KEY", "abc", "must be 64 hexadecimal digits"),
    ("ATLAS_MASTER_KEY", "", "must be 64 hexadecimal digits"),
    ("ATLAS_KAFKA_SECURITY_PROTOCOL", "TLS", "must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
    ("ATLAS_KAFKA_SASL_MECHANISM", "GSSAPI", "must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    ("ATLAS_SURFACES", "console", "names console; there are events, work, spine, burn"),
    ("ATLAS_CATALOG", "closed", "must be open or strict, not 'closed'"),
    ("ATLAS_VERDICT_TIMEOUT_SECONDS", "2s", f"{SECONDS}, not '2s'"),
    ("ATLAS_APPEND_TIMEOUT_SECONDS", "0", f"{SECONDS}, not '0'"),
    ("ATLAS_READ_TIMEOUT_SECONDS", "-1", f"{SECONDS}, not '-1'"),
    ("ATLAS_ATTEMPT_TIMEOUT_SECONDS", "soon", SECONDS),
    ("ATLAS_SESSION_SECONDS", "0", SECONDS),
    ("ATLAS_CONTROL_BEHIND_SECONDS_MAX", "inf", SECONDS),
    ("ATLAS_EDGE_TIMEOUT_SECONDS", "1e3", SECONDS),
    ("ATLAS_LLM_TIMEOUT_SECONDS", "nan", SECONDS),
    ("ATLAS_DRAIN_SECONDS", "-1", "must be a number of seconds, not '-1'"),
    ("ATLAS_REPLAYS_PER_SECOND", "0", "must be a whole number from 1 to 100000, not '0'"),
    ("ATLAS_MAX_WAITERS", "many", "must be a whole number from 1 to 1000000, not 'many'"),
    ("ATLAS_EDGE_SPOOL_MIB", "0", "must be a whole number from 1 to 1000000, not '0'"),
    ("ATLAS_RATE_LIMITS", "yes", f"{ON_OFF}, not 'yes'"),
    ("ATLAS_EDGE_ASK_USAGE", "1", f"{ON_OFF}, not '1'"),
    ("ATLAS_EDGE_FORWARD_UNREADABLE", "true", f"{ON_OFF}, not 'true'"),
    ("ATLAS_LOG_LEVEL", "loud", "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'LOUD'"),
    ("ATLAS_RETRY_LADDER", "events:x", "'x' is not a duration above 0"),
    ("ATLAS_RATE_OVERRIDES", "[]", 'must be JSON as {"<workspace>": {"<class>": 6000}}'),
    ("PUBLIC_API_RATE_OVERRIDES", "{", 'must be JSON as {"<workspace>": {"<class>": 6000}}'),
    ("ATLAS_ALLOWED_HOSTS", "a b", "must be names or addresses (api.example.com, [::1]:8080) with commas between"),
    ("ATLAS_TRUSTED_PROXIES", "10.0.0.0/99", "must be addresses or networks (10.0.0.0/8) with commas between"),
    ("ATLAS_EDGE_PROVIDERS", "openai", "must be JSON like"),
    ("ATLAS_PRICES", "/nowhere.yaml", "/nowhere.yaml can't be read: No such file or directory"),
    ("ATLAS_LLM_BASE_URL", "ftp://x", "must be a URL without query, such as"),
    ("ATLAS_JWT_SECRET", "short", "must have 32 bytes or more"),
    ("ATLAS_JWT_JWKS", "ftp://x", "must be a https URL (http on this machine) or a file"),
    ("CF_ACCOUNT_ID", "a", CLOUDFLARE),
    ("CF_KV_NAMESPACE_ID", "n", CLOUDFLARE),
    ("CF_API_TOKEN", "t", CLOUDFLARE),
]
TAKES_ANY = {
    *("ATLAS_HOME", "ATLAS_HOST", "ATLAS_KAFKA", "DATABASE_URL", "SCHEMA_REGISTRY_URL", "CF_API_URL"),
    *("ATLAS_JWT_ISSUER", "ATLAS_JWT_AUDIENCE", "ATLAS_LLM_API_KEY", "ATLAS_LLM_MODEL"),
    "ATLAS_ALLOW_PRIVATE_TARGETS",  # what is not one of three words means no
}
READ_ELSEWHERE = {
    *("ATLAS_KAFKA_SASL_USERNAME", "ATLAS_KAFKA_SASL_PASSWORD"),  # tests/unit/test_kafka_security.py
    *("ATLAS_KAFKA_SSL_CA", "ATLAS_KAFKA_SSL_CERTIFICATE", "ATLAS_KAFKA_SSL_KEY"),
    "ATLAS_STATUS_TARGETS",  # tests/pipeline/test_status_command.py
    *("ATLAS_CACHE", "ATLAS_KAFKA_VERSION"),  # tests/contract/test_jars.py
}


@pytest.mark.parametrize(("name", "written", "said"), REFUSED)
def test_a_value_that_cannot_be_used_is_named_with_its_variable(
    tmp_path: Path, name: str, written: str, said: str
) -> None:
    env = {"ATLAS_HOME": str(tmp_path), "ATLAS_MASTER_KEY": "00" * 32, name: written}
    with pytest.raises(SettingsInvalid) as refused:
        Settings.from_env(env)
    faults = str(refused.value).split("; ")
    assert any(name in fault and said in fault for fault in [*faults, str(refused.value)])


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    env = {"ATLAS_HOME": str(tmp_path), "ATLAS_PARTITIONS": "0", "ATLAS_LOG_LEVEL": "loud"}
    with pytest.raises(SettingsInvalid, match=r"(?s)ATLAS_MASTER_KEY.*ATLAS_PARTITIONS.*ATLAS_LOG_LEVEL"):
        Settings.from_env(env)


def test_every_setting_is_here() -> None:
    named = {name for name, _, _ in REFUSED}
    assert named | TAKES_ANY | READ_ELSEWHERE == SETTINGS.keys()
    assert not named & (TAKES_ANY | READ_ELSEWHERE)
