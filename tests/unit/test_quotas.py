"""Which quota a workspace has, how overrides are written, and that contract and code name the same numbers."""

import pytest

from domain.entities.control_view import ControlView
from domain.limits.quotas import EVENTS, RATE_CLASSES, OverridesInvalid, Quota, read_overrides
from ingest_gateway.limits.enforcement import Quotas, headers_of, refusal
from ingest_gateway.limits.limiter import Limiter
from ingest_gateway.surfaces.shared.contract import load_document
from operations.settings import Settings, SettingsInvalid
from schemas.commands.limits import ClearLimit, SetLimit
from schemas.commands.payload import Payload
from schemas.commands.workspaces import CreateWorkspace
from schemas.entities import Limit
from tests.support.commands_log import WORKSPACE, CommandsLog, a_workspace, outcome

UNIX_NS = 1_779_114_131_482_000_000
TIER = SetLimit(rate_class="events", burst=1000, per_minute=6000)

# (class, burst, a minute's requests, the row that says so)
DOCUMENTED = [
    ("events", 200, 1200, "A-078"),
    ("work.read", 300, 300, "W-035"),
    ("work.write", 60, 60, "W-036"),
    ("work.ai", 20, 20, "W-037"),
    ("spine.write", 1000, 1000, "S-043"),
    ("spine.read", 300, 300, "S-044"),
]


@pytest.mark.parametrize(("name", "burst", "per_minute"), [row[:3] for row in DOCUMENTED])
def test_the_documents_limits(name: str, burst: int, per_minute: int) -> None:
    assert RATE_CLASSES[name].quota == (burst, per_minute)


@pytest.mark.requirement("A-078", "A-079")
def test_the_contract_names_the_same_numbers() -> None:
    written = load_document("events")["x-rate-limits"]["events"]
    assert (written["burst_per_second"], written["sustained_per_minute"]) == EVENTS.quota


# Overrides


@pytest.mark.requirement("A-082")
@pytest.mark.parametrize(
    ("text", "prefix", "read"),
    [
        ("{}", "", {}),
        ('{"ws_a": {"events": 6000}}', "", {"ws_a": {"events": Quota(1000, 6000)}}),
        ('{"*": {"events": {"per_minute": 600, "burst": 7}}}', "", {"*": {"events": Quota(7, 600)}}),
        (
            '{"tnt": {"read": 600, "ai": 40}}',
            "work.",
            {"tnt": {"work.read": Quota(600, 600), "work.ai": Quota(40, 40)}},
        ),
        ('{"ws_a": {"events": 1}}', "", {"ws_a": {"events": Quota(1, 1)}}),
    ],
)
def test_overrides(text: str, prefix: str, read: dict[str, dict[str, Quota]]) -> None:
    assert read_overrides(text, prefix) == read


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"ws_a": 5}', '{"ws_a": {"evnts": 5}}', '{"ws_a": {"events": "5"}}'),
        *(
            '{"ws_a": {"events": 0}}',
            '{"ws_a": {"events": -1}}',
            '{"ws_a": {"events": 1.5}}',
            '{"ws_a": {"events": true}}',
        ),
        *('{"ws_a": {"events": 1000000000}}', '{"ws_a": {"events": {"per_minute": 5}}}', '{"ws_a": {"events": null}}'),
    ],
)
def test_overrides_that_cannot_be_used_are_told(text: str) -> None:
    with pytest.raises(OverridesInvalid):
        read_overrides(text)


def test_settings_read_both_variables_and_name_the_faulty_one() -> None:
    env = {"ATLAS_HOME": "/nowhere", "ATLAS_MASTER_KEY": "0" * 64}
    both = {"ATLAS_RATE_OVERRIDES": '{"ws_a": {"events": 60}}', "PUBLIC_API_RATE_OVERRIDES": '{"ws_a": {"write": 120}}'}
    settings = Settings.from_env(env | both)
    assert settings.rate_overrides == {"ws_a": {"events": Quota(10, 60), "work.write": Quota(120, 120)}}
    assert settings.rate_limits and not Settings.from_env(env | {"ATLAS_RATE_LIMITS": "off"}).rate_limits
    with pytest.raises(SettingsInvalid, match=r"ATLAS_RATE_LIMITS must be on or off.*PUBLIC_API_RATE_OVERRIDES must"):
        Settings.from_env(env | {"ATLAS_RATE_LIMITS": "no", "PUBLIC_API_RATE_OVERRIDES": "{"})


# Tiers


def ask(log: CommandsLog, payload: Payload, environment: str = "live") -> int | str | None:
    return outcome(log.ask(payload, environment=environment))


def limits(log: CommandsLog) -> list[Limit]:
    return [state for state in log.entities() if isinstance(state, Limit)]


@pytest.mark.requirement("A-082")
def test_a_tier_is_set_replaced_and_cleared_by_commands() -> None:
    log = a_workspace()
    assert ask(log, TIER) == 200
    assert ask(log, SetLimit(rate_class="events", burst=500, per_minute=3000)) == 200
    assert ask(log, TIER, "test") == 200
    assert [(limit.environment, limit.burst, limit.per_minute) for limit in limits(log)] == [
        ("live", 500, 3000),
        ("test", 1000, 6000),
    ]
    assert ask(log, ClearLimit(rate_class="events")) == 204
    assert ask(log, ClearLimit(rate_class="events")) == 204
    assert [limit.environment for limit in limits(log)] == ["test"]


def test_a_class_with_one_bucket_for_both_environments_has_one_tier() -> None:
    log = a_workspace()
    for environment in ("live", "test"):
        assert ask(log, SetLimit(rate_class="work.read", burst=600, per_minute=600), environment) == 200
    assert [limit.id for limit in limits(log)] == [f"{WORKSPACE}//work.read"]


@pytest.mark.parametrize(
    "payload", [SetLimit(rate_class="often", burst=1, per_minute=1), ClearLimit(rate_class="often")]
)
def test_a_class_that_is_not_there_is_refused(payload: Payload) -> None:
    assert ask(a_workspace(), payload) == "invalid_request"


def test_a_tier_needs_its_workspace() -> None:
    assert ask(CommandsLog(), TIER) == "workspace_not_found"


def test_a_record_read_again_does_not_bring_back_an_earlier_tier() -> None:
    log = a_workspace()
    ask(log, CreateWorkspace(name="again"))
    ask(log, TIER)
    ask(log, SetLimit(rate_class="events", burst=5, per_minute=30))
    log.read_again(0)
    assert [limit.burst for limit in limits(log)] == [5]


@pytest.mark.requirement("A-082")
def test_the_workspaces_own_tier_is_the_strongest() -> None:
    log, view = a_workspace(), ControlView()
    quotas = Quotas(view, {"*": {"events": Quota(1, 1)}, WORKSPACE: {"events": Quota(2, 2)}})
    assert quotas.of("ws_other", "live", EVENTS) == (1, 1)
    assert quotas.of(WORKSPACE, "live", EVENTS) == (2, 2)
    assert quotas.of(WORKSPACE, "live", RATE_CLASSES["work.ai"]) == (20, 20)
    ask(log, TIER)
    for key, value in log.control.items():
        view.apply(key, value)
    assert quotas.of(WORKSPACE, "live", EVENTS) == (1000, 6000)
    assert quotas.of(WORKSPACE, "test", EVENTS) == (2, 2)


# What answers say


@pytest.mark.requirement("X-07", "A-081", "X-22")
@pytest.mark.parametrize(
    ("taken", "remaining", "reset_after", "retry_after_ms"),
    [(1, 199, 0.05, None), (100, 100, 5.0, None), (200, 0, 10.0, None), (201, 0, 10.0, 50)],
)
def test_headers_and_waits(taken: int, remaining: int, reset_after: float, retry_after_ms: int | None) -> None:
    limiter = Limiter("me", lambda *_place: EVENTS.quota)
    for _ in range(taken):
        granted, entry = limiter.take(EVENTS, "ws_a", "live", 0)
    whole_at = UNIX_NS / 1e9 + reset_after
    headers = headers_of(entry, UNIX_NS)
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("200", str(remaining))
    assert int(headers["X-RateLimit-Reset"]) - 1 < whole_at <= int(headers["X-RateLimit-Reset"])
    assert headers["RateLimit-Policy"] == '"events";q=200;w=10'
    assert headers["RateLimit"] == f'"events";r={remaining};t={max(1, round(reset_after))}'
    assert granted is (retry_after_ms is None)
    if retry_after_ms is not None:
        refused = refusal(entry, "ws_a")
        assert refused.details == {"retry_after_ms": retry_after_ms}
        assert refused.headers == {"Retry-After": "1"}


def test_a_wait_of_1200_ms_is_2_seconds() -> None:
    """The document's own example, by the safe reading (A-081)."""
    limiter = Limiter("me", lambda *_place: Quota(1, 50))
    limiter.take(EVENTS, "ws_a", "live", 0)
    _, entry = limiter.take(EVENTS, "ws_a", "live", 0)
    refused = refusal(entry, "ws_a")
    assert (refused.details, refused.headers) == ({"retry_after_ms": 1200}, {"Retry-After": "2"})
