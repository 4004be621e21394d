"""Commands of the guardrails to the control agent: kill flags, policies and warnings that it publishes on `control`
and on the organization's spine. `answer` is the guardrails' own verdict for the waiting request; it is sent once
`control` has the change. Answer 200: `answer`.
"""

from typing import ClassVar

from schemas.commands.payload import Payload
from schemas.guardrail_breaches import BudgetWarning
from schemas.guardrail_policy import Guarded, GuardrailPolicy, Scope


class Suspend(Payload, frozen=True, kw_only=True):
    """Sets a kill flag, or replaces the previous one."""

    kind: ClassVar[str] = "guardrail.suspend"
    layer: str
    reason: str
    expires_ms: int | None = None
    scope: Scope = Scope.ORG
    scope_id: str = ""
    set_by: str = ""
    answer: bytes = b""


class ResumeGuarded(Payload, frozen=True, kw_only=True):
    """Removes these kill flags. `stood`: those of them that were set."""

    kind: ClassVar[str] = "guardrail.resume"
    reason: str
    guarded: list[Guarded]
    stood: list[Guarded] = []
    answer: bytes = b""


class Warn(Payload, frozen=True, kw_only=True):
    """Notifies the organization how much of these caps is spent."""

    kind: ClassVar[str] = "guardrail.warn"
    warnings: list[BudgetWarning]
    answer: bytes = b""


class ReplacePolicy(Payload, frozen=True, kw_only=True):
    """Publishes the policy that the guardrails follow from now on."""

    kind: ClassVar[str] = "guardrail.policy"
    policy: GuardrailPolicy
    version: int
    answer: bytes = b""
