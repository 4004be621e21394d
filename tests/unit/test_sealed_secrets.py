"""Callers' own secrets as they stand on topics: unreadable there, openable where they belong and nowhere else."""

import pytest

from domain.security.sealed_secrets import SecretBox, SecretUnreadable

KEY = bytes(range(32))
SECRET = "whsec_xxxxxxxx"


@pytest.mark.requirement("W14", "S-029")
def test_a_sealed_secret_opens_where_it_belongs() -> None:
    sealed = SecretBox(KEY).seal(SECRET, "ws_a", "live")
    assert SECRET.encode() not in sealed
    assert SecretBox(KEY).open(sealed, "ws_a", "live") == SECRET
    assert SecretBox(KEY).seal(SECRET, "ws_a", "live") == sealed, "a request made twice is the same bytes"
    assert SecretBox(KEY).seal(SECRET + "y", "ws_a", "live")[:12] != sealed[:12], "no nonce serves two texts"


@pytest.mark.requirement("W14")
@pytest.mark.parametrize(
    ("key", "workspace", "environment", "spoil"),
    [
        (bytes(32), "ws_a", "live", b""),
        (KEY, "ws_b", "live", b""),
        (KEY, "ws_a", "test", b""),
        (KEY, "ws_a", "live", b"x"),
    ],
)
def test_it_opens_nowhere_else(key: bytes, workspace: str, environment: str, spoil: bytes) -> None:
    sealed = SecretBox(KEY).seal(SECRET, "ws_a", "live") + spoil
    with pytest.raises(SecretUnreadable):
        SecretBox(key).open(sealed, workspace, environment)
    with pytest.raises(SecretUnreadable):
        SecretBox(KEY).open(sealed[:5], "ws_a", "live")
