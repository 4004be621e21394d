"""`/v1/events/subscriptions`: webhooks that get the events of matching types. The caller's secret is never shown.

Rows of docs/requirements.md: S-026 to S-033, S-045.
"""

from typing import Any

from aiohttp import web

from domain.delivery.targets import TargetForbidden, parse_target
from domain.entities.patterns import NO_PATTERN, is_pattern
from domain.events.fields import REQUIRED
from domain.security.principals import EVENTS_READ, SUBSCRIPTIONS_WRITE
from domain.security.sealed_secrets import SecretBox
from ingest_gateway.http.queries import read_query
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.commands import decide, json_body
from ingest_gateway.surfaces.shared.forms import DESCRIPTION_CHARACTERS_MAX, Form, expected, text_error
from ingest_gateway.surfaces.shared.requests import caller, read_control_on
from ingest_gateway.surfaces.spine.errors import INVALID_WEBHOOK_URL
from ingest_gateway.surfaces.spine.publishing import SYSTEM_STREAM, spine_of
from schemas.commands.answers import decode_state
from schemas.commands.subscriptions import CreateSubscription, DeleteSubscription
from schemas.entities import PATTERNS_MAX, PayloadFormat, Subscription, SubscriptionSurface
from schemas.errors import FieldError
from schemas.ids import SPINE_SUBSCRIPTION
from schemas.times import rfc3339_seconds

PATH = "/v1/events/subscriptions"
SURFACE = SubscriptionSurface.SPINE
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 8, 256
NO_SECRET = f"A secret is a text of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes."
NO_FORMAT = f"The format is {' or '.join(PayloadFormat)}."
TWICE = "The pattern is there twice."
URL = "webhookUrl"
_FIELDS = frozenset({"eventTypes", URL, "secret", "description", "format"})


async def create_subscription(request: web.Request) -> web.Response:
    services, principal = caller(request, SUBSCRIPTIONS_WRITE)
    read_query(request, ())
    settings = services.settings
    form, secret = read_subscription(await json_body(request), allow_private=settings.allow_private_targets)
    await spine_of(request.app[SYSTEM_STREAM], principal)  # events of Atlas's own are written where there is one
    sealed = SecretBox(settings.master_key).seal(secret, principal.workspace, principal.environment)
    payload = CreateSubscription(surface=SURFACE, sealed_secret=sealed, **form)
    verdict = await decide(request, services, principal, payload, surface=SURFACE)
    return json_response(subscription_view(decode_state(verdict.body, Subscription)), verdict.status)


async def list_subscriptions(request: web.Request) -> web.Response:
    services, principal = caller(request, EVENTS_READ)
    read_query(request, ())
    await read_control_on(services)
    mine = services.control.view.subscriptions_of(principal.workspace, principal.environment, SURFACE)
    return json_response({"subscriptions": [subscription_view(one) for one in mine]})


async def delete_subscription(request: web.Request) -> web.Response:
    services, principal = caller(request, SUBSCRIPTIONS_WRITE)
    identifier = request.match_info["subscriptionId"]
    payload = DeleteSubscription(id=identifier if identifier.startswith(SPINE_SUBSCRIPTION) else SPINE_SUBSCRIPTION)
    await decide(request, services, principal, payload, surface=SURFACE)
    return web.Response(status=204)


def read_subscription(body: bytes, *, allow_private: bool) -> tuple[dict[str, Any], str]:
    """The fields of CreateSubscription but the secret, and that. Raises Refused: invalid_request, invalid_webhook_url.

    `allow_private` (development): http and addresses of one's own are let through.
    """
    form = Form(body, _FIELDS)
    patterns = _patterns(form)
    url = form.string(URL, lambda text: None)
    secret = form.string("secret", lambda text: None if _is_secret(text) else NO_SECRET)
    description = form.string("description", text_error(DESCRIPTION_CHARACTERS_MAX), required=False)
    payload_format = form.string(
        "format", lambda t: None if t in frozenset(PayloadFormat) else NO_FORMAT, required=False
    )
    form.raise_errors()
    fields = {
        "url": _target(url or "", allow_private),
        "patterns": patterns,
        "description": description,
        "payload_format": PayloadFormat(payload_format or PayloadFormat.NATIVE),
    }
    return fields, secret or ""


def subscription_view(subscription: Subscription) -> dict[str, Any]:
    return {
        "subscriptionId": subscription.id,
        "eventTypes": subscription.patterns,
        "webhookUrl": subscription.url,
        "description": subscription.description,
        "format": subscription.payload_format,
        "status": "active" if subscription.disabled_ms is None else "disabled",
        "createdAt": rfc3339_seconds(subscription.created_ms),
    }


def _target(url: str, allow_private: bool) -> str:
    """The URL as it is dialled. Raises Refused: invalid_webhook_url."""
    try:
        target = parse_target(url, allow_private)
    except TargetForbidden as error:
        message = f"The webhook URL can't be used: {error}."
        raise INVALID_WEBHOOK_URL.refused(message, fields=[FieldError(URL, str(error))]) from None
    if target.scheme != "https" and not allow_private:
        message = "The webhook URL must be https."
        raise INVALID_WEBHOOK_URL.refused(message, fields=[FieldError(URL, message)])
    return target.url


def _is_secret(text: str) -> bool:
    return SECRET_BYTES_MIN <= len(text.encode("utf-8", "surrogatepass")) <= SECRET_BYTES_MAX


def _patterns(form: Form) -> list[str]:
    value = form.values.get("eventTypes")
    if value is None or value == []:
        form.refuse("eventTypes", REQUIRED)
        return []
    if type(value) is not list:
        form.refuse("eventTypes", expected("an array of patterns", value))
        return []
    if len(value) > PATTERNS_MAX:
        form.refuse("eventTypes", f"The array has {len(value)} patterns; {PATTERNS_MAX} are allowed.")
        return []
    for index, pattern in enumerate(value):
        error = expected("a text", pattern) if type(pattern) is not str else None
        if error is None and not is_pattern(pattern):
            error = NO_PATTERN
        if error is None and pattern in value[:index]:
            error = TWICE
        if error is not None:
            form.refuse(f"eventTypes[{index}]", error)
    return value


ROUTES = (
    web.post(PATH, create_subscription, name="create_subscription"),
    web.get(PATH, list_subscriptions, name="list_subscriptions"),
    web.delete(PATH + "/{subscriptionId}", delete_subscription, name="delete_subscription"),
)
