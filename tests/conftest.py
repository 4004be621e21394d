"""What every test may ask for: a real Kafka broker (`kafka`, one a run), or of its own to hurt:
one (`own_broker`), or three that keep everything three times (`three_brokers`).
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from deploy.local.broker import Broker
from ingest_gateway.http import listening
from tests.support import shared_broker
from tests.support.brokers import a_broker
from tests.support.sharing_out import share_out
from tests.support.three_brokers import ThreeBrokers

pytest_plugins = ("tests.traceability.plugin",)
NAME_LENGTH_MAX = 60
RUN = shared_broker.DIRECTORY_VARIABLE

# How long an example takes is the machine's affair: no deadline, no complaint about slow generation.
hypothesis.settings.register_profile(
    "atlas",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("atlas")


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        os.environ[RUN] = f"{os.getpid()}:{tempfile.mkdtemp(prefix='atlas-tests-')}"  # inherited by xdist workers


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config) and RUN in os.environ:
        shared_broker.stop(Path(os.environ[RUN].split(":", 1)[1]))
        del os.environ[RUN]


@pytest.hookimpl(tryfirst=True)  # before xdist writes the groups into the ids
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    share_out(items)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Long values are named by their beginning and a hash: a test's name goes from process to process with each report,
    and a megabyte of it is no better to read.
    """
    if not isinstance(val, str | bytes) or len(val) <= NAME_LENGTH_MAX:
        return None
    content = val.encode("utf-8", "surrogatepass") if isinstance(val, str) else val
    digest = hashlib.blake2b(content, digest_size=4).hexdigest()
    return f"{content[:NAME_LENGTH_MAX].decode('ascii', 'backslashreplace')}-{len(val)}-{digest}"


@pytest.fixture(scope="session")
def kafka() -> str:
    """Address of the one real broker of this run. It is shared: use workspaces, groups and topics of your own."""
    return shared_broker.of_this_run()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker that this test alone uses: it may be killed, paused, stopped and started."""
    broker = a_broker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def three_brokers(tmp_path: Path) -> Iterator[ThreeBrokers]:
    """Three running brokers that this test alone uses. They take some 20 s to start: for slow tests."""
    cluster = ThreeBrokers(tmp_path / "brokers")
    try:
        cluster.start_all()
        yield cluster
    finally:
        cluster.kill_all()


@pytest.fixture(autouse=True, scope="session")
def nobody_is_on_the_way() -> Iterator[None]:
    """A listener of this process closes at once: who would connect runs in this process and does not. Otherwise each
    of a thousand tests waits for handshakes that have begun. tests/contract/http/test_stopping.py waits.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listening, "HANDSHAKE_SECONDS", 0.0)
        yield


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
