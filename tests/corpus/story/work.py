"""The work API: projects, tasks, webhooks, tokens, plans."""

import json

from tests.corpus.story.client import UNREACHABLE_URL, Story
from tests.support.receiver import answer

PLAN = json.dumps({"tasks": [{"title": "Collect"}, {"title": "Write", "dependsOn": [0]}]})


async def work(story: Story) -> None:
    at = story.receiver.url
    story.receiver.script("/work", answer(503), answer(200))
    hook = await story.made("work", "/v1/webhooks", {"url": f"{at}/work", "events": ["task.created", "task.updated"]})
    await story.made("work", "/v1/webhooks", {"url": f"{at}/all", "events": ["project.created"]})
    await story.made("work", "/v1/webhooks", {"url": f"{UNREACHABLE_URL}/dead", "events": ["task.created"]})
    await story.good("work", "PATCH", f"/v1/webhooks/{hook['id']}", {"events": ["task.created", "task.updated"]})
    project = await story.made("work", "/v1/projects", {"name": "Q3 forecast"}, Idempotency_Key="project-1")
    await story.good("work", "PATCH", f"/v1/projects/{project['id']}", {"description": "Of all regions"})
    first = await story.made("work", "/v1/tasks", {"projectId": project["id"], "title": "Collect"})
    form = {
        "projectId": project["id"],
        "title": "Write",
        "dependsOn": [first["id"]],
        "dueOn": "2026-12-24T12:00:00Z",
    }
    second = await story.made("work", "/v1/tasks", form)
    third = await story.made("work", "/v1/tasks", {"projectId": project["id"], "title": "Drop"})
    await story.good("work", "PATCH", f"/v1/tasks/{first['id']}", {"status": "DONE"}, If_Match='"1"')
    stale = await story.ask("work", "PATCH", f"/v1/tasks/{first['id']}", {"title": "Late"}, If_Match='"1"')
    assert stale.status == 409, stale.body
    await story.good("work", "DELETE", f"/v1/tasks/{third['id']}")
    await story.made("work", f"/v1/webhooks/{hook['id']}/test", None)
    await story.made("work", f"/v1/webhooks/{hook['id']}/rotate-secret", {})
    deliveries = f"/v1/webhooks/{hook['id']}/deliveries"
    listed = await story.until("work", deliveries, lambda told: len(told["items"]) >= 3)
    event = next(one for one in listed["items"] if one["event"] != "webhook.test")
    await story.made("work", f"{deliveries}/{event['id']}/replay", None)
    await story.made("work", f"/v1/webhooks/{hook['id']}/reactivate", None)
    story.llm.says = [PLAN, "All is well."]
    await story.made("work", "/v1/ai/plan", {"text": "Prepare the forecast"}, Idempotency_Key="plan-1")
    await story.made("work", "/v1/ai/summarize", {"projectId": project["id"]})
    story.llm.status = 500
    failed = await story.ask("work", "POST", "/v1/ai/plan", {"text": "Once more"}, Idempotency_Key="plan-2")
    assert failed.status >= 400, failed.body
    token = await story.made("work", "/v1/tokens", {"name": "CI", "scopes": ["tasks:read"]}, key="session")
    await story.made("work", f"/v1/tokens/{token['id']}/rotate", {}, key="session")
    await story.until("work", deliveries, lambda told: all(one["status"] == "delivered" for one in told["items"]))
    story.reads += [
        ("work", f"/v1/tasks/{second['id']}"),
        ("work", "/v1/tasks"),
        ("work", "/v1/projects"),
        ("work", "/v1/webhooks"),
        ("work", deliveries),
    ]
