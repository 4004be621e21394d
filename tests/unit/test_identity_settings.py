"""Settings of identity: trusted proxies, identity providers; what is wrong is named, what is secret is not shown."""

from pathlib import Path

import pytest

from domain.security.networks import read_network
from ingest_gateway.identity.setup import sessions_of
from operations.settings import Settings, SettingsInvalid

SECRET = "0123456789abcdef" * 2
PROVIDER = {"ATLAS_JWT_ISSUER": "https://id.example.com", "ATLAS_JWT_AUDIENCE": "atlas"}


def settings(home: Path, **env: str) -> Settings:
    return Settings.from_env({"ATLAS_HOME": str(home), "ATLAS_MASTER_KEY": "00" * 32, **env})


@pytest.mark.requirement("A4")
def test_trusted_proxies(tmp_path: Path) -> None:
    assert settings(tmp_path).trusted_proxies == ()
    read = settings(tmp_path, ATLAS_TRUSTED_PROXIES="10.0.0.0/8, 2001:db8::1 ,").trusted_proxies
    assert read == (read_network("10.0.0.0/8"), read_network("2001:db8::1"))


# (environment, what is said to be wrong)
@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"ATLAS_TRUSTED_PROXIES": "10.0.0.1/8"}, "ATLAS_TRUSTED_PROXIES must be addresses"),
        ({"ATLAS_TRUSTED_PROXIES": "*"}, "ATLAS_TRUSTED_PROXIES must be addresses"),
        ({"ATLAS_JWT_SECRET": "short", **PROVIDER}, "ATLAS_JWT_SECRET must have 32 bytes"),
        ({"ATLAS_JWT_SECRET": SECRET}, "ATLAS_JWT_ISSUER and ATLAS_JWT_AUDIENCE must be set"),
        ({"ATLAS_JWT_JWKS": "https://id.example.com/keys"}, "ATLAS_JWT_ISSUER and ATLAS_JWT_AUDIENCE must be set"),
        ({"ATLAS_JWT_SECRET": SECRET, "ATLAS_JWT_JWKS": "keys.json", **PROVIDER}, "can't both be set"),
        ({"ATLAS_JWT_JWKS": "http://id.example.com/keys", **PROVIDER}, "ATLAS_JWT_JWKS must be a https URL"),
        ({"ATLAS_JWT_JWKS": "http://localhost.evil.example/keys", **PROVIDER}, "ATLAS_JWT_JWKS must be a https URL"),
        ({"ATLAS_CONTROL_BEHIND_SECONDS_MAX": "soon"}, "ATLAS_CONTROL_BEHIND_SECONDS_MAX"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said) as invalid:
        settings(tmp_path, **env)
    assert SECRET not in str(invalid.value)


@pytest.mark.requirement("A10")
def test_secrets_are_not_shown(tmp_path: Path) -> None:
    shown = settings(tmp_path, ATLAS_JWT_SECRET=SECRET, **PROVIDER).describe()
    assert shown["jwt_secret"] == "(set)"
    assert not any(SECRET in value for value in shown.values())


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("env", "verified"),
    [
        ({}, False),
        ({"ATLAS_JWT_SECRET": SECRET, **PROVIDER}, True),
        ({"ATLAS_JWT_JWKS": "https://id.example.com/keys", **PROVIDER}, True),
        ({"ATLAS_JWT_JWKS": "http://127.0.0.1:8090/keys", **PROVIDER}, True),
        ({"ATLAS_JWT_JWKS": "config/keys.json", **PROVIDER}, True),
    ],
)
def test_sessions_are_verified_where_a_provider_is_set(tmp_path: Path, env: dict[str, str], verified: bool) -> None:
    assert (sessions_of(settings(tmp_path, **env)) is not None) is verified
