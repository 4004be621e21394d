"""Processes on a cluster that has nothing of Atlas yet, or that is not there: nobody has prepared it for them."""

import json
from pathlib import Path

from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port
from tests.support.worker import Worker


def test_whoever_comes_first_makes_the_topics_and_all_become_ready(own_broker: Broker, tmp_path: Path) -> None:
    gateway = GatewayProcess(own_broker.bootstrap, tmp_path)
    worker = Worker("lifecycle", own_broker.bootstrap, tmp_path)
    try:
        gateway.start()
        assert wait_until(lambda: "control" in gateway.missing().get("log", ""), 30), "it waits for the topics"
        worker.start_until_ready()
        assert wait_until(lambda: gateway.missing() == {}, 30), gateway.missing()
        said = [json.loads(line)["message"] for line in gateway.log.read_text().splitlines()]
        assert 1 <= said.count("control.unreachable") <= 3, "a line a reason, not one a try"
        assert said.count("control.reachable") == 1
        assert worker.stop() == 0
    finally:
        gateway.kill()
        worker.kill()


def test_a_process_without_a_broker_ends_when_it_is_told_to(tmp_path: Path) -> None:
    worker = Worker("lifecycle", f"127.0.0.1:{free_port()}", tmp_path)
    try:
        worker.start()
        assert wait_until(lambda: "control" in worker.missing(), 30), worker.missing()
        assert worker.stop() == 0
    finally:
        worker.kill()
