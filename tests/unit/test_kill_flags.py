"""Kill flags in a gateway's view: what stops a call, and what of them is as good as none."""

import msgspec
import pytest

from domain.entities.control_view import ControlView
from schemas.codec import Undecodable
from schemas.entities import KillFlag, Policy, kill_flag_id
from schemas.guardrail_policy import DEFAULT_POLICY, Burst, Guarded, GuardrailPolicy, Scope
from schemas.records import Entity

WORKSPACE = "ws_4F9KQ2C7Z1"
NOW_MS = 1_779_107_696_789
PROJECT = Guarded(Scope.PROJECT, "bot")


def a_flag(expires_ms: int | None = NOW_MS + 1, guarded: Guarded = Guarded(), layer: str = "manual") -> KillFlag:  # noqa: B008
    return KillFlag(
        id=WORKSPACE,
        workspace=WORKSPACE,
        created_ms=NOW_MS - 1_000,
        layer=layer,
        reason="a look",
        expires_ms=expires_ms,
        scope=guarded.scope,
        scope_id=guarded.id,
    )


def viewed(*flags: KillFlag) -> ControlView:
    view = ControlView()
    for flag in flags:
        entity = flag.to_entity()
        view.apply(entity.key, entity.encode())
    return view


@pytest.mark.requirement("L1", "B-030", "B-048")
@pytest.mark.parametrize(
    ("flags", "targets", "stops"),
    [
        ([], [PROJECT], False),
        ([a_flag()], [], True),
        ([a_flag(expires_ms=NOW_MS)], [], False),  # it has expired
        ([a_flag(expires_ms=None)], [], True),  # until somebody resumes
        ([a_flag(expires_ms=10**15)], [], True),
        ([a_flag(guarded=PROJECT)], [], False),
        ([a_flag(guarded=PROJECT)], [PROJECT], True),
        ([a_flag(guarded=PROJECT)], [Guarded(Scope.PROJECT, "other"), Guarded(Scope.USER, "bot")], False),
        ([a_flag(guarded=PROJECT, expires_ms=NOW_MS)], [PROJECT], False),
        ([a_flag(expires_ms=NOW_MS), a_flag(guarded=PROJECT)], [PROJECT], True),
    ],
)
def test_what_stops_a_call(flags: list[KillFlag], targets: list[Guarded], stops: bool) -> None:
    assert (viewed(*flags).suspension(WORKSPACE, NOW_MS, targets) is not None) is stops
    assert viewed(*flags).suspension("ws_other", NOW_MS, targets) is None


def test_a_flag_that_is_gone_stops_nothing_and_another_still_does() -> None:
    view = viewed(a_flag(), a_flag(guarded=PROJECT))
    view.apply(f"kill_flag/{kill_flag_id(WORKSPACE)}".encode(), None)
    assert view.suspension(WORKSPACE, NOW_MS) is None
    assert view.suspension(WORKSPACE, NOW_MS, [PROJECT]) is not None
    view.apply(f"kill_flag/{kill_flag_id(WORKSPACE, PROJECT)}".encode(), None)
    assert view.suspension(WORKSPACE, NOW_MS, [PROJECT]) is None


@pytest.mark.requirement("L1")
@pytest.mark.parametrize("state", [b"", b"{", b"{}", b'{"id": 7}', b"\xff", b'{"expires_ms": "soon"}'])
def test_a_corrupt_flag_is_told_and_changes_nothing(state: bytes) -> None:
    """The reader of `control` counts and logs what is Undecodable."""
    view = viewed(a_flag(layer="before"))
    key = f"kill_flag/{WORKSPACE}".encode()
    value = Entity(kind="kill_flag", id=WORKSPACE, workspace=WORKSPACE, state=state).encode()
    with pytest.raises(Undecodable):
        view.apply(key, value)
    standing = view.suspension(WORKSPACE, NOW_MS)
    assert standing is not None
    assert standing.layer == "before"


def test_a_policy_or_the_default() -> None:
    view = ControlView()
    assert view.policy(WORKSPACE) is DEFAULT_POLICY
    policy = GuardrailPolicy(burst=Burst(per_minute=10))
    entity = Policy(id=WORKSPACE, workspace=WORKSPACE, created_ms=NOW_MS, policy=policy).to_entity()
    view.apply(entity.key, entity.encode())
    assert view.policy(WORKSPACE) == policy
    assert msgspec.json.decode(entity.state)["policy"]["burst"]["per_minute"] == 10
