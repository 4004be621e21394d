"""`POST /v1/traces`: OTLP over HTTP. Spans of model calls (span_conventions.py) count as calls; others are ignored.

The answer is OTLP's own, in the request's encoding, with what was rejected. The organization's status is in a header.
"""

import msgspec
from aiohttp import web

from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.services import SERVICES
from ingest_gateway.surfaces.burn.forms import BODY_BYTES_MAX
from ingest_gateway.surfaces.burn.ingest import store_calls
from ingest_gateway.surfaces.burn.otlp import ERRORS_NAMED_MAX, ExportError, spans_of_json, spans_of_protobuf
from ingest_gateway.surfaces.burn.spans import SPANS_MAX, calls_of

JSON, PROTOBUF = "application/json", "application/x-protobuf"
STATUS_HEADER = "AtlasBurn-Guardrail-Status"


async def export_traces(request: web.Request) -> web.Response:
    principal = request.app[SERVICES].authenticate(request)
    encoding = content_type(request, JSON, PROTOBUF)
    body = await read_body(request, BODY_BYTES_MAX)
    try:
        export = spans_of_json(body) if encoding == JSON else spans_of_protobuf(body)
    except ExportError as error:
        raise Refused(ErrorKind.MALFORMED_REQUEST, str(error)) from None
    if len(export.spans) > SPANS_MAX:
        raise Refused(ErrorKind.BODY_TOO_LARGE, f"A request holds at most {SPANS_MAX:,} spans; send several.")
    calls, errors = calls_of(export.spans, principal.key_id)
    status = await store_calls(request, calls)
    return _answer(encoding, status, [*export.errors, *errors])


def _answer(encoding: str, status: str, errors: list[str]) -> web.Response:
    message = "; ".join(errors[:ERRORS_NAMED_MAX])
    if encoding == JSON:
        partial = {"partialSuccess": {"rejectedSpans": str(len(errors)), "errorMessage": message}} if errors else {}
        body = msgspec.json.encode(partial)
    else:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        response = ExportTraceServiceResponse()
        if errors:
            response.partial_success.rejected_spans = len(errors)
            response.partial_success.error_message = message
        body = response.SerializeToString()
    return web.Response(body=body, content_type=encoding, headers={STATUS_HEADER: status})


ROUTES = (web.post("/v1/traces", export_traces, name="export_traces"),)
