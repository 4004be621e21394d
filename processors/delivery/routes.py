"""Where a delivery goes: its workflow as `control` has it now, with URL and keys, or its topic.

A missing workflow may have been created a moment ago. So `control` is first read to the end that it has at that time;
only then is the workflow known to be deleted. As long as that can't be found out (the broker is away, the view is far
behind), the delivery must wait, without keeping others from being attempted.
"""

import asyncio
from typing import NamedTuple

from yarl import URL

from domain.delivery.retry_schedule import EndpointClass
from domain.delivery.signatures import callers_standard_key, signing_secret, standard_key
from domain.delivery.targets import TargetForbidden, TargetUrl, parse_target
from domain.security.sealed_secrets import SecretBox, SecretUnreadable
from processors.delivery.http_client import HttpEndpoint, PreviousSecret, SignatureStyle
from processors.runtime.agent import Control
from schemas.entities import Subscription, SubscriptionSurface, Target, Workflow, workflow_entity_id
from schemas.records import Delivery
from schemas.topics import RouteTopic, parse_route_topic

CACHED_MAX = 10_000
ASK_AGAIN_SECONDS = 0.2
FIND_SECONDS_MAX = 2.0


class RouteUnknown(Exception):
    """It can't be found out yet whether the workflow was deleted."""


class Route(NamedTuple):
    """Either `endpoint` or `topic` is set, or `forbidden` says why neither may be used. `kind` chooses the schedule."""

    workflow: Target
    endpoint: HttpEndpoint | None
    forbidden: str = ""
    kind: EndpointClass = EndpointClass.EVENTS
    topic: RouteTopic | None = None


class Routes:
    """Routes are prepared once for each state of a workflow."""

    def __init__(self, control: Control, master_key: bytes, *, allow_private_targets: bool) -> None:
        self._control = control
        self._master_key = master_key
        self._callers_secrets = SecretBox(master_key)
        self._allow_private_targets = allow_private_targets
        self._prepared: dict[str, Route] = {}
        self._asking = asyncio.Lock()

    async def find(self, delivery: Delivery, read_at: float) -> Route | None:
        """None: the workflow does not exist. `read_at`: when the delivery was read (monotonic). Raises RouteUnknown."""
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
        """A webhook endpoint or a subscription is found in the same way as a workflow."""
        entity_id = workflow_entity_id(delivery.workspace, delivery.environment, delivery.workflow_id)
        return self._control.view.targets.get(entity_id)

    async def _read_to_end(self, read_at: float) -> None:
        """One caller reads for all callers that wait."""
        async with self._asking:
            if not self._control.has_seen(read_at) and not await self._control.catch_up():
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    def _prepare(self, workflow: Target) -> Route:
        """A state is replaced and never changed, so the same object means the same URL and keys."""
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
        return Route(workflow, self._issued(workflow, URL(target.url, encoded=True), SignatureStyle.EVENTS))

    def _issued(self, workflow: Target, url: URL, style: SignatureStyle) -> HttpEndpoint:
        """With secrets that Atlas issued."""
        secret = self._secret(workflow, workflow.secret_version)
        previous = None
        if workflow.previous_until_ms is not None:
            before = self._secret(workflow, workflow.secret_version - 1)
            previous = PreviousSecret(before, standard_key(before), workflow.previous_until_ms)
        return HttpEndpoint(url, secret, standard_key(secret), previous, style)

    def _subscribed(self, subscription: Subscription, target: TargetUrl) -> Route:
        """The surface decides the style of the signature and the schedule. Only https is allowed."""
        if target.scheme != "https" and not self._allow_private_targets:
            return Route(subscription, None, "the scheme must be https")
        is_work = subscription.surface is SubscriptionSurface.WORK
        style, kind = (
            (SignatureStyle.WORK, EndpointClass.WORK) if is_work else (SignatureStyle.SPINE, EndpointClass.EVENTS)
        )
        url = URL(target.url, encoded=True)
        if not subscription.sealed_secret:
            return Route(subscription, self._issued(subscription, url, style), kind=kind)
        try:
            secret = self._callers_secrets.open(
                subscription.sealed_secret, subscription.workspace, subscription.environment
            )
        except SecretUnreadable as error:
            return Route(subscription, None, str(error))
        return Route(subscription, HttpEndpoint(url, secret, callers_standard_key(secret), style=style), kind=kind)

    def _secret(self, workflow: Target, version: int) -> str:
        return signing_secret(self._master_key, workflow.entity_id, version)
