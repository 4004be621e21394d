"""The registry of commands: the handler of each payload class. A module's handlers are listed at its end."""

from domain.control import (
    event_types,
    guardrails,
    keys,
    limits,
    replays,
    reservations,
    route_topics,
    streams,
    subscriptions,
    tenants,
    webhooks,
)
from domain.control.handlers import Handler, Handlers
from domain.work import decide as items
from domain.work import webhooks as work_webhooks
from schemas.commands.payload import Payload

_MODULES = (
    *(event_types, guardrails, keys, limits, replays, reservations, route_topics),
    *(streams, subscriptions, tenants, webhooks, items, work_webhooks),
)


def _joined(*modules: Handlers) -> dict[type[Payload], Handler]:
    """Raises ValueError where two modules claim one payload class."""
    joined: dict[type[Payload], Handler] = {}
    for handlers in modules:
        for payload, handler in handlers.items():
            if payload in joined:
                raise ValueError(f"{payload.__name__} has two handlers")
            joined[payload] = handler
    return joined


HANDLERS = _joined(*(module.HANDLERS for module in _MODULES))
