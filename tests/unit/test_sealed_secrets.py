"""Callers' own secrets as they stand on topics: unreadable there, openable where they belong and nowhere else."""

import pytest

from domain.security.sealed_secrets import SecretBox, SecretUnreadable

KEY = bytes(range(32))
SECRET = "whsec_xxxxxxxx"
SEALED = bytes.fromhex("017e1ef0463df5a6c35cbf36d8894f65b7b79a49d9612195b8f0dc1bee4f1d")


@pytest.mark.requirement("W14", "S-029")
def test_a_sealed_secret_opens_where_it_belongs() -> None:
    sealed = SecretBox(KEY).seal(SECRET, "ws_a", "live")
    assert SECRET.encode() not in sealed
    assert SecretBox(KEY).open(sealed, "ws_a", "live") == SECRET
    assert sealed == SEALED, "a request made twice is the same bytes, in every process and version"
    assert SecretBox(KEY).seal(SECRET + "y", "ws_a", "live")[1:17] != sealed[1:17], "two texts share nothing"


# As the build before docs/decisions/0026 wrote them, the first byte of the second one today's version.
EARLIER = [
    (
        "b35bbbae4bcdd8c34a0bcf296b6583ab6842a9366524427a1274072e211e4cdcfebb2d681913e84c1fad",
        "whsec_xxxxxxxx",
    ),
    ("014ae2725828a8b6a78364c5f47fe9c06549b7923d82808404a18a6d8d43ea896f3958453fb4", "whsec_1011"),
]


@pytest.mark.requirement("W14")
@pytest.mark.parametrize(("earlier", "secret"), EARLIER)
def test_secrets_that_the_build_before_sealed_are_opened(earlier: str, secret: str) -> None:
    assert SecretBox(KEY).open(bytes.fromhex(earlier), "ws_a", "live") == secret


@pytest.mark.requirement("W14")
@pytest.mark.parametrize(
    ("key", "workspace", "environment", "spoil"),
    [
        (bytes(32), "ws_a", "live", b""),
        (KEY, "ws_b", "live", b""),
        (KEY, "ws_a", "test", b""),
        (KEY, "ws_al", "ive", b""),
        (KEY, "ws_a", "live", b"x"),
    ],
)
@pytest.mark.parametrize("sealed", [SEALED, *(bytes.fromhex(earlier) for earlier, _ in EARLIER)], ids=lambda _: "")
def test_it_opens_nowhere_else(key: bytes, workspace: str, environment: str, spoil: bytes, sealed: bytes) -> None:
    with pytest.raises(SecretUnreadable):
        SecretBox(key).open(sealed + spoil, workspace, environment)
    for length in (0, 1, 5, 17):
        with pytest.raises(SecretUnreadable):
            SecretBox(KEY).open(sealed[:length], "ws_a", "live")
