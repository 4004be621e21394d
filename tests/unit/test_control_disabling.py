"""A workflow whose endpoint answered 410: disabled once, until somebody reactivates it, whatever comes late."""

import pytest

from domain.delivery.decide import disable_command
from schemas.commands import decode_payload
from schemas.commands.workflows import CreateWorkflow, DisableWorkflow, ReactivateWorkflow
from schemas.entities import Ordering, Workflow
from schemas.records import Delivery, Outcome
from tests.support.commands_log import CommandsLog, a_workspace, outcome

ARCHIVE = CreateWorkflow(id="wf_archive", name="Archive", url="https://example.com/hook", ordering=Ordering.PER_KEY)


def a_log() -> CommandsLog:
    log = a_workspace()
    assert outcome(log.ask(ARCHIVE)) == 201
    return log


def archive(log: CommandsLog) -> Workflow:
    (found,) = (state for state in log.entities() if isinstance(state, Workflow))
    return found


@pytest.mark.requirement("A-066", "F47")
def test_it_is_disabled_and_reactivated() -> None:
    log = a_log()
    assert (archive(log).disabled_ms, archive(log).ordering) == (None, Ordering.PER_KEY)
    assert outcome(log.ask(DisableWorkflow(id="wf_archive", reactivations=0))) == 200
    since_ms = archive(log).disabled_ms
    assert since_ms is not None
    assert outcome(log.ask(DisableWorkflow(id="wf_archive", reactivations=0))) == 200
    assert archive(log).disabled_ms == since_ms
    assert outcome(log.ask(ReactivateWorkflow(id="wf_archive"))) == 200
    assert (archive(log).disabled_ms, archive(log).reactivations) == (None, 1)


@pytest.mark.requirement("A-066")
def test_a_410_told_of_after_the_reactivation_that_followed_it_changes_nothing() -> None:
    log = a_log()
    log.ask(ReactivateWorkflow(id="wf_archive"))
    assert outcome(log.ask(DisableWorkflow(id="wf_archive", reactivations=0))) == 200
    assert archive(log).disabled_ms is None
    log.ask(DisableWorkflow(id="wf_archive", reactivations=1))
    assert archive(log).disabled_ms is not None


@pytest.mark.parametrize("payload", [DisableWorkflow(id="wf_none", reactivations=0), ReactivateWorkflow(id="wf_none")])
def test_one_that_does_not_exist_is_not_found(payload: DisableWorkflow | ReactivateWorkflow) -> None:
    assert outcome(a_log().ask(payload)) == "workflow_not_found"


def test_delivery_asks_once_an_attempt() -> None:
    log = a_log()
    workflow = archive(log)
    delivery = Delivery(
        delivery_id="dlv_1",
        event_id="evt_1",
        workspace=workflow.workspace,
        environment="live",
        stream="orders",
        workflow_id=workflow.id,
        received_ms=1,
        event=b"",
    )

    def gone(attempt: int) -> Outcome:
        return Outcome(
            delivery_id="dlv_1",
            event_id="evt_1",
            workspace=workflow.workspace,
            environment="live",
            workflow_id=workflow.id,
            attempt=attempt,
            status="disabled",
            started_ms=1,
            completed_ms=2,
        )

    first = disable_command(delivery, workflow, gone(1))
    assert first == disable_command(delivery, workflow, gone(1))
    assert first.id != disable_command(delivery, workflow, gone(2)).id
    assert decode_payload(first) == DisableWorkflow(id="wf_archive", reactivations=0)
