"""Sends one attempt of a delivery to where its route leads: a signed POST, or a record on a topic."""

from dataclasses import dataclass

from domain.delivery.bodies import Content, content_for
from domain.delivery.decide import DISABLED_TOO_LONG, WORKFLOW_DELETED, AttemptResult, ErrorCode, Failed, is_given_up
from operations.settings import Settings
from processors.delivery.http_client import HttpClient, Post
from processors.delivery.loaded import LoadedDelivery
from processors.delivery.route_topics import TopicWriter, topic_record
from processors.delivery.routes import Route, Routes
from processors.runtime.agent import Control
from schemas.entities import Subscription


@dataclass(frozen=True, slots=True)
class SentAttempt:
    """`route`: None if the workflow was deleted; then nothing was sent."""

    route: Route | None
    result: AttemptResult


class Sender:
    """Make it on the running loop and `close` it."""

    def __init__(self, settings: Settings, control: Control) -> None:
        private = settings.allow_private_targets
        self.timeout_seconds = settings.attempt_timeout_seconds
        self._routes = Routes(control, settings.master_key, allow_private_targets=private)
        self._client = HttpClient(self.timeout_seconds, allow_private_targets=private)
        self._topics = TopicWriter(settings.kafka, settings.partitions, self.timeout_seconds)

    async def send(self, delivery: LoadedDelivery, now_ms: int) -> SentAttempt:
        """Raises RouteUnknown."""
        route = await self._routes.find(delivery.delivery, delivery.read_at)
        return SentAttempt(route, await self._result(route, delivery, now_ms))

    async def close(self) -> None:
        await self._client.close()
        await self._topics.close()

    async def _result(self, route: Route | None, loaded: LoadedDelivery, now_ms: int) -> AttemptResult:
        delivery = loaded.delivery
        if route is None:
            return WORKFLOW_DELETED
        if is_given_up(delivery, now_ms):
            return DISABLED_TOO_LONG
        if route.topic is not None:
            return await self._topics.write(route.topic, topic_record(delivery, loaded.attempt))
        if route.endpoint is None:
            return Failed(ErrorCode.TARGET_FORBIDDEN, f"may not be sent to: {route.forbidden}")
        body, headers = Content(loaded.body, {})
        if isinstance(route.workflow, Subscription):
            body, headers = content_for(route.workflow, delivery)
        post = Post(delivery.delivery_id, loaded.attempt, body, delivery.replay, headers)
        return await self._client.post(route.endpoint, post)
