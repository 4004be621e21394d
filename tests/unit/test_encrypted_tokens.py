"""What callers carry for us: nobody reads it, makes it up or uses it for something else."""

import struct

import pytest

from domain.security.encrypted_tokens import EncryptedTokens
from ingest_gateway.read_model.cursors import Cursors

KEY = bytes(range(32))
PLACE = struct.pack(">Iq", 3, 1_234_567)
TOKEN = bytes.fromhex("0177cdaaf7130cee3b9fd78318fc2e316065fbbf4e5c8eca1273aefa0b")


@pytest.mark.requirement("S8")
def test_a_token_is_decrypted_for_its_own_use_alone() -> None:
    tokens = EncryptedTokens(KEY, "position")
    token = tokens.encrypt(b"ws_1/live", PLACE)
    assert token == TOKEN, "the same content for the same use is the same token, in every process and version"
    assert tokens.decrypt(b"ws_1/live", token) == PLACE
    for other, bound_to in (
        (tokens, b"ws_2/live"),
        (tokens, b"ws_1/test"),
        (tokens, b""),
        (EncryptedTokens(KEY, "cursor"), b"ws_1/live"),
        (EncryptedTokens(bytes(32), "position"), b"ws_1/live"),
    ):
        assert other.decrypt(bound_to, token) is None


@pytest.mark.requirement("A7", "S8")
def test_it_shows_nothing_of_its_content() -> None:
    """Neither two places that follow one another nor one place for two tenants look alike."""
    tokens = EncryptedTokens(KEY, "position")
    places = [tokens.encrypt(bound_to, struct.pack(">Iq", 0, n)) for bound_to in (b"a", b"b") for n in range(200)]
    assert len({place[17:] for place in places}) == len(places)
    assert len({place[1:5] for place in places}) == len(places)


def test_anything_else_is_not_ours() -> None:
    tokens = EncryptedTokens(KEY, "position")
    token = tokens.encrypt(b"a", PLACE)
    changed = [bytes([*token[:n], token[n] ^ 1, *token[n + 1 :]]) for n in range(len(token))]
    for one in (b"", b"x", b"\x01", token[:-1], token + b"x", bytes(40), b"\x02" + token[1:], *changed):
        assert tokens.decrypt(b"a", one) is None


# As the build before docs/decisions/0026 wrote them, the first byte of the second one today's version.
EARLIER = [
    ("687ca59ced5fbae9c6c2c3c6cd34dc29f558a85203879181cf0a0fa5", struct.pack(">Iq", 3, 1_234_567)),
    ("0153f9b7573aedf0161293e2f449c1896b2725774179bca6cb2b71b8", struct.pack(">Iq", 0, 293)),
]


@pytest.mark.parametrize(("earlier", "content"), EARLIER)
def test_tokens_of_the_build_before_are_read(earlier: str, content: bytes) -> None:
    token = bytes.fromhex(earlier)
    tokens = EncryptedTokens(KEY, "position")
    assert tokens.decrypt(b"ws_1/live", token) == content
    assert tokens.decrypt(b"ws_1/test", token) is None
    assert tokens.decrypt(b"ws_1/live", token[:-1]) is None
    assert EncryptedTokens(KEY, "cursor").decrypt(b"ws_1/live", token) is None
    assert EncryptedTokens(bytes(32), "position").decrypt(b"ws_1/live", token) is None


def test_a_cursor_of_the_build_before_goes_on_where_it_was() -> None:
    cursor, issued_ms = "cur_g-U91y0OqLwkt2mL1yRFgdb9V5PwZ_ZAig6Q0ZDg", 1_800_000_000_000
    assert Cursors(KEY).decrypt(b"ws_1/live/events", cursor, issued_ms + 1) == b"evt_01"
