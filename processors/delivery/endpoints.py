"""Where a delivery goes: its workflow as `control` has it now, with URL and keys, or its topic, prepared once a state.

A workflow that is missing may have been made a moment ago, so `control` is first read to the end that it had then. Only
after that is it gone. While that can't be found out (the broker is away, the view far behind), it is neither, and the
delivery must wait, but not where it keeps others from being made.
"""

import asyncio
from typing import NamedTuple

from yarl import URL

from domain.delivery.retry_schedule import EndpointClass
from domain.delivery.signatures import callers_standard_key, signing_secret, standard_key
from domain.delivery.targets import Target as TargetUrl
from domain.delivery.targets import TargetForbidden, parse_target
from domain.security.sealed_secrets import SecretBox, SecretUnreadable
from operations.control_reader import ControlReader
from processors.delivery.http_client import Endpoint, Previous, Style
from schemas.entities import Subscription, SubscriptionSurface, Target, Workflow, workflow_entity_id
from schemas.records import Delivery
from schemas.topics import RouteTopic, parse_route_topic

CACHED_MAX = 10_000
ASK_AGAIN_SECONDS = 0.2
FIND_SECONDS_MAX = 2.0


class RouteUnknown(Exception):
    """Whether the workflow is gone can't be told yet."""


class Route(NamedTuple):
    """Either `endpoint` or `topic` is set, or `forbidden` says why neither may be. `kind` chooses its schedule."""

    workflow: Target
    endpoint: Endpoint | None
    forbidden: str = ""
    kind: EndpointClass = EndpointClass.EVENTS
    topic: RouteTopic | None = None


class Endpoints:
    def __init__(self, control: ControlReader, master_key: bytes, *, allow_private_targets: bool) -> None:
        self._control = control
        self._master_key = master_key
        self._callers_secrets = SecretBox(master_key)
        self._allow_private_targets = allow_private_targets
        self._prepared: dict[str, Route] = {}
        self._asking = asyncio.Lock()

    async def find(self, delivery: Delivery, read_at: float) -> Route | None:
        """None: the workflow is gone; it was not there at `read_at` (monotonic) or later. Raises RouteUnknown."""
        workflow = self._workflow(delivery)
        try:
            async with asyncio.timeout(FIND_SECONDS_MAX):
                while workflow is None and not self._control.has_seen(read_at):
                    await self._read_to_end(read_at)
                    workflow = self._workflow(delivery)
        except TimeoutError:
            raise RouteUnknown from None
        return None if workflow is None else self._prepare(workflow)

    def _workflow(self, delivery: Delivery) -> Target | None:
        """A webhook's endpoint stands where a route's workflow does."""
        entity_id = workflow_entity_id(delivery.workspace, delivery.environment, delivery.workflow_id)
        return self._control.view.targets.get(entity_id)

    async def _read_to_end(self, read_at: float) -> None:
        """One asks for all that wait."""
        async with self._asking:
            if not self._control.has_seen(read_at) and not await self._control.catch_up():
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    def _prepare(self, workflow: Target) -> Route:
        """A state is replaced and never changed, so the same object has the same URL and keys."""
        known = self._prepared.get(workflow.entity_id)
        if known is not None and known.workflow is workflow:
            return known
        if len(self._prepared) >= CACHED_MAX:
            self._prepared.clear()
        route = self._prepared[workflow.entity_id] = self._route(workflow)
        return route

    def _route(self, workflow: Target) -> Route:
        if isinstance(workflow, Workflow) and workflow.topic:
            topic = parse_route_topic(workflow.topic)
            if topic is None or (topic.workspace, topic.environment) != (workflow.workspace, workflow.environment):
                return Route(workflow, None, "the topic is not its workspace's")
            return Route(workflow, None, topic=topic)
        try:
            target = parse_target(workflow.url, self._allow_private_targets)
        except TargetForbidden as error:
            return Route(workflow, None, str(error))
        if isinstance(workflow, Subscription):
            return self._subscribed(workflow, target)
        return Route(workflow, self._issued(workflow, URL(target.url, encoded=True), Style.EVENTS))

    def _issued(self, workflow: Target, url: URL, style: Style) -> Endpoint:
        """With secrets that Atlas issued."""
        secret = self._secret(workflow, workflow.secret_version)
        previous = None
        if workflow.previous_until_ms is not None:
            before = self._secret(workflow, workflow.secret_version - 1)
            previous = Previous(before, standard_key(before), workflow.previous_until_ms)
        return Endpoint(url, secret, standard_key(secret), previous, style)

    def _subscribed(self, subscription: Subscription, target: TargetUrl) -> Route:
        """As its surface has it: the signature's style, the schedule, https alone."""
        if target.scheme != "https" and not self._allow_private_targets:
            return Route(subscription, None, "the scheme must be https")
        is_work = subscription.surface is SubscriptionSurface.WORK
        style, kind = (Style.WORK, EndpointClass.WORK) if is_work else (Style.SPINE, EndpointClass.EVENTS)
        url = URL(target.url, encoded=True)
        if not subscription.sealed_secret:
            return Route(subscription, self._issued(subscription, url, style), kind=kind)
        try:
            secret = self._callers_secrets.open(
                subscription.sealed_secret, subscription.workspace, subscription.environment
            )
        except SecretUnreadable as error:
            return Route(subscription, None, str(error))
        return Route(subscription, Endpoint(url, secret, callers_standard_key(secret), style=style), kind=kind)

    def _secret(self, workflow: Target, version: int) -> str:
        return signing_secret(self._master_key, workflow.entity_id, version)
