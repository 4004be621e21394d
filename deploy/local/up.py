"""`atlas up`: one command from nothing to a running Atlas on this machine.

In this order: the home is locked, ports are checked, the broker serves, topics exist, all processes are ready, the
development workspace has its keys, and only then `dev.json` appears. Ctrl-C takes it away again and stops the gateway,
then the processors, then the broker. A next run goes on from there; nothing is lost by a kill either.
With ATLAS_KAFKA set to another cluster no broker is started: that one is used.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException

from deploy.local import dev_file
from deploy.local.broker import Broker, BrokerFailed
from deploy.local.child import ProcessSpec, http_not_ready
from deploy.local.dev_surfaces import SURFACES as SERVED
from deploy.local.dev_surfaces import surface_access
from deploy.local.home import HomeTaken, PortTaken, locked_home, require_free
from deploy.local.jars import JarsUnusable, ToolMissing
from deploy.local.messages import Say
from deploy.local.scraping import write_scraping
from deploy.local.supervisor import NotReady, StopRequested, Supervisor
from operations.private_files import make_home
from operations.settings import PROCESSES, Settings, SettingsInvalid, ensure_master_key, home_directory
from operations.topic_admin import PartitionsChanged, ensure_topics
from schemas.topics import base_topics

BROKER_TIMEOUT_SECONDS = 60.0
READY_TIMEOUT_SECONDS = 90.0
GATEWAY_STOP_GROUP, PROCESSORS_STOP_GROUP, BROKER_STOP_GROUP = 0, 1, 2
REFUSALS = (
    BrokerFailed,
    HomeTaken,
    JarsUnusable,
    KafkaException,
    NotReady,
    PartitionsChanged,
    PortTaken,
    SettingsInvalid,
    ToolMissing,
)
SurfaceAccessOf = Callable[[Settings], Mapping[str, dict[str, Any]]]
CommandOf = Callable[[str], tuple[str, ...]]


def python_module(process: str) -> tuple[str, ...]:
    """The command of the gateway or a processor."""
    module = ("ingest_gateway",) if process == "gateway" else ("processors", process)
    return (sys.executable, "-m", *module)


def up(
    env: Mapping[str, str],
    say: Say,
    access: SurfaceAccessOf = surface_access,
    command_of: CommandOf = python_module,
) -> None:
    """Runs until Ctrl-C or SIGTERM. Raises one of REFUSALS, whose message is a sentence for people."""
    home = home_directory(env)
    was_open = make_home(home)
    if was_open is not None:
        say(was_open)
    with locked_home(home):
        dev_file.remove(home)
        ensure_master_key(home)
        settings = Settings.from_env(env)
        require_free(settings.host, port_uses(settings))
        write_scraping(home, {name: f"{settings.host}:{settings.ports.operations(name)}" for name in PROCESSES})
        supervisor = Supervisor(home / "logs", say)
        with supervisor.handling_signals():
            try:
                start_broker(supervisor, settings, say)
                start_processes(supervisor, settings, env, say, command_of)
                content = dev_content(settings, access(settings))
                dev_file.write(home, content)
                say(where(settings, content))
                supervisor.watch()
            except StopRequested:
                say("stopping: the gateway, the processors, the broker")
            finally:
                dev_file.remove(home)
                supervisor.stop()
        say("stopped; everything accepted is kept in " + str(home))


def start_broker(supervisor: Supervisor, settings: Settings, say: Say) -> None:
    """Returns when a broker serves and has the topics."""
    broker = local_broker(settings)
    if settings.kafka == broker.bootstrap:
        say(f"starting the broker on {broker.bootstrap}")
        broker.prepare()
        supervisor.start([broker_process(broker)])
        supervisor.wait_ready(["broker"], BROKER_TIMEOUT_SECONDS)
    ensure_topics(settings.kafka, base_topics(settings.partitions))


def start_processes(
    supervisor: Supervisor, settings: Settings, env: Mapping[str, str], say: Say, command_of: CommandOf
) -> None:
    """Returns when the gateway and all processors are ready."""
    say("starting " + ", ".join(PROCESSES))
    supervisor.start([atlas_process(name, command_of(name), settings, env) for name in PROCESSES])
    supervisor.wait_ready(PROCESSES, READY_TIMEOUT_SECONDS)


def local_broker(settings: Settings) -> Broker:
    return Broker(settings.home / "kafka", settings.ports.kafka, settings.ports.controller)


def broker_process(broker: Broker) -> ProcessSpec:
    """SIGTERM when the supervisor dies: a clean end spares the next start the 2 s of the old session."""
    return ProcessSpec(
        name="broker",
        command=tuple(broker.command()),
        env=dict(os.environ),
        not_ready=lambda: None if broker.serves() else "it does not answer yet",
        stop_group=BROKER_STOP_GROUP,
        when_parent_dies=signal.SIGTERM,
    )


def atlas_process(name: str, command: tuple[str, ...], settings: Settings, env: Mapping[str, str]) -> ProcessSpec:
    """The gateway or one processor; its settings come from the environment that `atlas up` has, made definite."""
    port = settings.ports.operations(name)
    definite = {
        "ATLAS_DRAIN_SECONDS": "0",  # no load balancer sends requests here, and Ctrl-C is waited for
        "ATLAS_HOME": str(settings.home),
        "ATLAS_KAFKA": settings.kafka,
        "ATLAS_METRICS_PORT": str(port),
        "ATLAS_PARTITIONS": str(settings.partitions),
        "DATABASE_URL": settings.database_url,
        "PYTHONUNBUFFERED": "1",
    }
    return ProcessSpec(
        name=name,
        command=command,
        env={**env, **definite},
        not_ready=lambda: http_not_ready(f"http://{settings.host}:{port}/readyz"),
        stop_group=GATEWAY_STOP_GROUP if name == "gateway" else PROCESSORS_STOP_GROUP,
    )


def port_uses(settings: Settings) -> dict[int, str]:
    """Every port of the run, and what it is for."""
    operations = {settings.ports.operations(name): f"operations port of {name}" for name in PROCESSES}
    surfaces = {settings.surface_port(name): f"the {name} API" for name in SERVED if name in settings.surfaces}
    if settings.kafka != local_broker(settings).bootstrap:
        return {**surfaces, **operations}
    return {settings.ports.kafka: "Kafka", settings.ports.controller: "the Kafka controller", **surfaces, **operations}


def dev_content(settings: Settings, access: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    metrics = [f"http://{settings.host}:{settings.ports.operations(name)}/metrics" for name in PROCESSES]
    return {"kafka": settings.kafka, **access, "metrics": metrics}


def where(settings: Settings, content: Mapping[str, Any]) -> str:
    """The table that people see when all is ready."""
    surfaces = {name: part["url"] for name, part in content.items() if isinstance(part, dict) and "url" in part}
    operations = {name: f"http://{settings.host}:{settings.ports.operations(name)}/metrics" for name in PROCESSES}
    rows = {
        **surfaces,
        "kafka": settings.kafka,
        **{f"{name} metrics": url for name, url in operations.items()},
        "keys": str(settings.home / dev_file.FILE_NAME),
        "logs": str(settings.home / "logs"),
    }
    width = max(map(len, rows))
    return "Atlas is ready. Ctrl-C stops it.\n" + "\n".join(
        f"  {name:<{width}}  {value}" for name, value in rows.items()
    )
