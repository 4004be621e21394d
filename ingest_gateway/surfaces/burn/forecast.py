"""`GET /api/forecast`: the expected spend at the month's end, and when each cap will be reached."""

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from ingest_gateway.http.queries import read_query
from ingest_gateway.services import SERVICES
from ingest_gateway.surfaces.burn.asking import ask
from ingest_gateway.surfaces.burn.views import usd
from ingest_gateway.surfaces.shared.answers import json_response
from schemas.telemetry import Account, Ask
from schemas.times import rfc3339

if TYPE_CHECKING:
    from ingest_gateway.surfaces.burn.forecasting import CapForecast, Forecast

DAYS = 57
DAY_MS = 86_400_000
_account = msgspec.json.Decoder(Account).decode


async def get_forecast(request: web.Request) -> web.Response:
    """Loads numpy at the first request: a gateway that serves no forecasts needs 20 MB less."""
    workspace = request.app[SERVICES].authenticate(request).workspace
    read_query(request, ())
    account = _account((await ask(request, Ask(days=DAYS))).body)
    return json_response(await asyncio.to_thread(forecast_view, workspace, account))


def forecast_view(workspace: str, account: Account) -> dict[str, Any]:
    from ingest_gateway.surfaces.burn.forecasting import PATHS, forecast, month_of

    digest = hashlib.blake2b(f"{workspace}/{account.at_ms // DAY_MS}".encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "big")
    found = forecast(account.days_nano, account.month_nano, account.caps, account.at_ms, seed)
    return {
        "as_of": rfc3339(account.at_ms),
        "month": month_of(account.at_ms),
        "month_to_date_usd": usd(account.month_nano),
        "month_end_usd": _amounts(found),
        "usd_per_minute": usd(sum(account.minutes_nano[-15:])) / 15,
        "caps": [_cap(one) for one in found.caps],
        "paths": PATHS,
        "days_of_history": found.days_of_history,
    }


def _amounts(found: "Forecast") -> dict[str, float]:
    names = ("p5", "p50", "p95", "var95", "cvar95")
    return {name: round(usd(getattr(found, name)), 6) for name in names}


def _cap(one: "CapForecast") -> dict[str, Any]:
    return {
        "cap": one.use.cap,
        "kind": one.kind,
        "limit_usd": usd(one.limit_nano),
        "spent_usd": usd(one.use.spent_nano),
        "probability": one.probability,
        "expected_at": None if one.expected_ms is None else rfc3339(one.expected_ms),
    }


ROUTES = (web.get("/api/forecast", get_forecast, name="get_forecast"),)
