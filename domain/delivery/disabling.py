"""What the control process is told when an endpoint answers 410. Pure."""

from schemas.commands.workflows import DisableWorkflow
from schemas.entities import Target
from schemas.ids import COMMAND, derived_id
from schemas.records import Command, Delivery, Outcome

ACTOR = "delivery"


def disable_command(delivery: Delivery, workflow: Target, outcome: Outcome) -> Command:
    """Derived from the attempt, so that writing it twice asks once."""
    payload = DisableWorkflow(id=workflow.id, reactivations=workflow.reactivations)
    return Command(
        id=derived_id(COMMAND, outcome.completed_ms, f"{delivery.delivery_id}/{outcome.attempt}/410".encode()),
        kind=payload.kind,
        workspace=workflow.workspace,
        environment=workflow.environment,
        payload=payload.encode(),
        actor=ACTOR,
    )
