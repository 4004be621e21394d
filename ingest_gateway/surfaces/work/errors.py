"""The work surface's errors as RFC 9457 problems: its codes, and the one place that writes them.

`type` is the code with hyphens behind the document's address, `title` the code; `errors` names each wrong field,
other members are facts (`missingScope`, `currentVersion`, `retryAfterMs`). Rows of docs/requirements.md: X-31.
"""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from domain.security.principals import MISSING_SCOPE, TOKENS_READ, TOKENS_WRITE
from ingest_gateway.http.errors import ErrorAnswer, ErrorKind, Refused
from ingest_gateway.surfaces.shared.errors import RETRY, USUAL_CODES, answered, field_errors
from schemas.errors import FieldError

PROBLEM = "application/problem+json"
TYPES = "https://api.atlas-todo.com/errors/"
INSUFFICIENT_SCOPE = "insufficient_scope"

CODES = USUAL_CODES | {ErrorKind.ADDRESS_BLOCKED: "pat-ip-blocked", ErrorKind.UNPROCESSABLE: "unprocessable"}

PROJECT_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "project_not_found", "There is no project with this id.")
TASK_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "task_not_found", "There is no task with this id.")
TOKEN_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "token_not_found", "There is no token with this id.")
WEBHOOK_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "webhook_not_found", "There is no webhook with this id.")
DELIVERY_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "delivery_not_found", "The webhook has no delivery with this id.")
DELIVERY_NOT_REPLAYABLE = ErrorAnswer(
    ErrorKind.UNPROCESSABLE, "delivery_not_replayable", "The event of this delivery is no longer kept."
)
NOT_CONFIRMED = ErrorAnswer(
    ErrorKind.UNAVAILABLE, "unavailable", "Not confirmed. Send it again with the same Idempotency-Key.", headers=RETRY
)
UNKNOWN_PROJECT = ErrorAnswer(
    ErrorKind.UNPROCESSABLE, "unknown_project", "The request names a project that does not exist."
)
IN_FLIGHT = ErrorAnswer(
    ErrorKind.CONFLICT,
    "idempotency_in_flight",
    "The first request with this key is still under way. Ask again for its answer.",
    headers=RETRY,
)
AI_NOT_CONFIGURED = ErrorAnswer(
    ErrorKind.UNAVAILABLE, "ai_not_configured", "This installation has no language model (ATLAS_LLM_BASE_URL)."
)
AI_UNAVAILABLE = ErrorAnswer(
    ErrorKind.UNAVAILABLE, "ai_unavailable", "The language model did not answer. Please try again.", headers=RETRY
)
AI_UNUSABLE = ErrorAnswer(
    ErrorKind.UNAVAILABLE, "ai_unusable", "The language model's answer can't be used. Please try again.", headers=RETRY
)
AI_BLOCKED = ErrorAnswer(
    ErrorKind.RATE_LIMITED, "ai_blocked", "The tenant's cost guardrails have stopped calls of language models."
)


def problem(refused: Refused, request_id: str) -> dict[str, Any]:
    details = dict(refused.details)
    missing = details.pop(MISSING_SCOPE, None)
    code = refused.code or (CODES[refused.kind] if missing is None else INSUFFICIENT_SCOPE)
    view: dict[str, Any] = {
        "type": TYPES + code.replace("_", "-"),
        "title": code,
        "status": refused.status,
        "detail": refused.message if missing is None else _missing(str(missing)),
    }
    if refused.fields:
        view["errors"] = field_errors(refused)
    if missing is not None:
        view["missingScope"] = missing
    return view | {_camel(name): value for name, value in details.items()} | {"requestId": request_id}


def _missing(scope: str) -> str:
    if scope in (TOKENS_READ, TOKENS_WRITE):
        return f"A session has the scope '{scope}', and no PAT can: tokens are managed by people who are signed in."
    return f"PAT is missing the '{scope}' scope."


def render(refused: Refused, request_id: str) -> web.Response:
    """The surface's `Renderer`."""
    return answered(refused, problem(refused, request_id), content_type=PROBLEM)


def invalid(errors: Iterable[FieldError]) -> Refused:
    return Refused(ErrorKind.INVALID_FIELDS, fields=list(errors))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))
