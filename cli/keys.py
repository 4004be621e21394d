"""`atlas keys create|list|rotate|revoke`: a workspace's keys of every kind, by commands on the log.

They need the master key. Answers are JSON; a secret is printed once, when its key is made.
"""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.environment import found_environment
from cli.terminal import echo
from domain.events.fields import is_stream_name
from domain.events.fields import time_ms as read_time
from domain.security.networks import read_network
from operations import clock
from operations.settings import Settings, SettingsInvalid
from schemas.commands.fields import OVERLAP_SECONDS_DEFAULT, OVERLAP_SECONDS_MAX
from schemas.commands.keys import CreateKey
from schemas.entities import STREAM_KINDS, Key, KeyKind
from schemas.times import rfc3339

KIND_NAMES = {
    "secret": KeyKind.SECRET,
    "publishable": KeyKind.PUBLISHABLE,
    "access-token": KeyKind.ACCESS_TOKEN,
    "spine": KeyKind.SPINE,
    "org": KeyKind.ORG,
}
SCOPE = re.compile(r"[a-z]+(:[a-z]+)?")
_Result = TypeVar("_Result")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def of_workspace(command: _Command) -> _Command:
    """The options that say whose keys."""
    environment = click.option("--environment", type=click.Choice(["live", "test"]), default="live", show_default=True)
    return click.option("--workspace", required=True, help="The workspace's id.")(environment(command))


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke keys."""


@keys.command()
@of_workspace
@click.option("--name", required=True, help="What people call it.")
@click.option("--kind", type=click.Choice(list(KIND_NAMES)), default="secret", show_default=True)
@click.option("--scope", "scopes", multiple=True, help="May be given several times; left out: all of the kind.")
@click.option("--stream", "streams", multiple=True, help="A stream that it may use; left out: all.")
@click.option("--allowed-ip", "allowed_ips", multiple=True, help="An address or network (CIDR); left out: all.")
@click.option("--origin", "origins", multiple=True, help="Of a publishable key: pages that may use it; left out: all.")
@click.option("--expires", help="As RFC 3339 has it: 2027-01-31T00:00:00Z.")
def create(workspace: str, environment: str, name: str, kind: str, expires: str | None, **limits: Any) -> None:
    """Make a key, and print it with its secret, once."""
    from ingest_gateway.log.keys import create_key

    key_kind = KIND_NAMES[kind]
    _check(key_kind, limits)
    payload = CreateKey(
        name=name,
        environment=environment,  # type: ignore[arg-type]
        key_kind=key_kind,
        expires_ms=_expires_ms(expires),
        **{field: list(values) for field, values in limits.items()},
    )
    minted = _asked(lambda settings: create_key(settings, workspace, payload))
    _print(_shown(minted.key) | {"secret": minted.secret})


@keys.command("list")
@of_workspace
def list_(workspace: str, environment: str) -> None:
    """Show the workspace's keys, revoked ones too, without their secrets."""
    from ingest_gateway.log.keys import list_keys

    _print([_shown(key) for key in _asked(lambda settings: list_keys(settings, workspace, environment))])


@keys.command()
@of_workspace
@click.argument("key_id")
@click.option(
    "--overlap-seconds",
    type=click.IntRange(0, OVERLAP_SECONDS_MAX),
    default=OVERLAP_SECONDS_DEFAULT,
    show_default=True,
    help="For how long the old key stays valid next to the new one.",
)
def rotate(workspace: str, environment: str, key_id: str, overlap_seconds: int) -> None:
    """Replace a key by a new one, and print the new one with its secret, once."""
    from ingest_gateway.log.keys import rotate_key

    minted = _asked(lambda settings: rotate_key(settings, workspace, environment, key_id, overlap_seconds))
    _print(_shown(minted.key) | {"secret": minted.secret})


@keys.command()
@of_workspace
@click.argument("key_id")
def revoke(workspace: str, environment: str, key_id: str) -> None:
    """End a key for good, everywhere, within a second."""
    from ingest_gateway.log.keys import revoke_key

    _print(_shown(_asked(lambda settings: revoke_key(settings, workspace, environment, key_id))))


def _check(kind: KeyKind, limits: dict[str, tuple[str, ...]]) -> None:
    """Raises BadParameter. Which scopes there are is the gateway's to know; one that it doesn't know allows nothing."""
    if kind is KeyKind.PUBLISHABLE and not limits["streams"]:
        raise click.UsageError("A publishable key must name the streams that it may send to (--stream).")
    if limits["streams"] and kind not in STREAM_KINDS:
        raise click.UsageError("Only secret and publishable keys can be limited to streams (--stream).")
    for field, option, fits in (
        ("scopes", "--scope", lambda text: SCOPE.fullmatch(text) is not None),
        ("streams", "--stream", is_stream_name),
        ("allowed_ips", "--allowed-ip", _is_network),
    ):
        for value in limits[field]:
            if not fits(value):
                raise click.BadParameter(f"{value!r} can't be one.", param_hint=option)


def _is_network(text: str) -> bool:
    try:
        read_network(text)
    except ValueError:
        return False
    return True


def _expires_ms(text: str | None) -> int | None:
    if text is None:
        return None
    expires_ms = read_time(text)
    if expires_ms is None or expires_ms <= clock.now_ms():
        raise click.BadParameter("a time to come, as 2027-01-31T00:00:00Z.", param_hint="--expires")
    return expires_ms


def _asked(work: Callable[[Settings], _Result]) -> _Result:
    from ingest_gateway.log.bootstrap import WorkspaceRefused

    try:
        return work(Settings.from_env(found_environment()))
    except (SettingsInvalid, WorkspaceRefused) as refusal:
        raise click.ClickException(str(refusal)) from refusal


def _shown(key: Key) -> dict[str, Any]:
    kind = next(name for name, kind in KIND_NAMES.items() if kind is key.key_kind)
    view: dict[str, Any] = {"id": key.id, "kind": kind, "name": key.name, "environment": key.environment}
    for field in ("scopes", "streams", "allowed_ips", "origins"):
        view[field] = getattr(key, field) or "all"
    if key.rotated_to:
        view["rotated_to"] = key.rotated_to
    times = {
        "created_at": key.created_ms,
        "expires_at": key.ends_ms,
        "last_used_at": key.last_used_ms,
        "revoked_at": key.revoked_ms,
    }
    return view | {name: rfc3339(at_ms) for name, at_ms in times.items() if at_ms is not None}


def _print(answer: object) -> None:
    echo(json.dumps(answer, indent=2))


COMMANDS = (keys,)
