"""Whom requests may be addressed to, as an installation sets it."""

from pathlib import Path

import pytest

from tests.contract.gateway.conftest import a_gateway


@pytest.mark.requirement("H7")
async def test_a_gateway_serves_the_hosts_that_it_was_told_to(bootstrap: str, tmp_path: Path) -> None:
    async with a_gateway(bootstrap, tmp_path, ATLAS_ALLOWED_HOSTS="api.example.com,127.0.0.1") as gateway:
        for host, status in (("API.example.com:443", 200), ("127.0.0.1", 200), ("evil.example", 421)):
            answer = await gateway.ask("GET", "/v1/event-streams", headers={"Host": host})
            assert (host, answer.status) == (host, status)
        assert answer.code == "misdirected_request"
