"""URLs that whoever runs Atlas has set: they may lead to one's own network, and never to a cloud's metadata service."""

import socket

import aiohttp
import pytest

from domain.delivery.targets import METADATA
from ingest_gateway.identity.session_keys import reader_of
from ingest_gateway.surfaces.burn.edge.upstream import new_session
from operations.outgoing import AddressInfo, ConnectForbidden, guarded_socket, open_socket

METADATA_ADDRESSES = ("169.254.169.254", "fd00:ec2::254", "fe80::a9fe:a9fe%1", "::ffff:169.254.169.254")


def info(address: str) -> AddressInfo:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443)


@pytest.mark.requirement("W1", "W4")
@pytest.mark.parametrize("address", METADATA_ADDRESSES)
def test_no_socket_is_made_for_a_metadata_service(address: str) -> None:
    for factory in (open_socket, guarded_socket):
        with pytest.raises(ConnectForbidden):
            factory(info(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1"])
def test_ones_own_network_is_open_where_it_is_allowed(address: str) -> None:
    open_socket(info(address)).close()
    with pytest.raises(ConnectForbidden):
        guarded_socket(info(address))


@pytest.mark.requirement("W1")
async def test_no_provider_and_no_key_set_is_asked_there() -> None:
    async with new_session(5) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await session.get("http://169.254.169.254/latest/meta-data/")
        assert METADATA in str(refused.value.os_error)
    with pytest.raises(aiohttp.ClientConnectorError) as refused:
        await reader_of("https://169.254.169.254/keys")()
    assert METADATA in str(refused.value.os_error)
