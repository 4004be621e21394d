"""What names mean to those who run and use Atlas, if the code doesn't say it; docs/reference.md is written from it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TopicMeaning:
    """What a topic's records are keyed by, which record of schemas/records.py they are, and what they tell."""

    key: str
    record: str
    meaning: str


SETTINGS = {
    "ATLAS_HOME": "The data directory: master key, read model, logs, and a development run's broker.",
    "ATLAS_PORT_BASE": (
        "Moves a development run's ports: the surfaces begin here, the broker 10 above, operations ports 20 above."
    ),
    "ATLAS_KAFKA": "Bootstrap servers of the Kafka cluster.",
    "ATLAS_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL: how Kafka's brokers are reached.",
    "ATLAS_KAFKA_SASL_MECHANISM": "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    "ATLAS_KAFKA_SASL_USERNAME": "The user name at the brokers.",
    "ATLAS_KAFKA_SASL_PASSWORD": "Its password.",
    "ATLAS_KAFKA_SSL_CA": "A file with the certificates of trusted authorities; unset: the system's.",
    "ATLAS_KAFKA_SSL_CERTIFICATE": "A file with this client's own certificate, if the brokers ask for one.",
    "ATLAS_KAFKA_SSL_KEY": "A file with the certificate's key, unless it is in the same file.",
    "ATLAS_MASTER_KEY": (
        "64 hexadecimal digits, the same for all processes; every key, secret and gateway signature derives from it."
    ),
    "ATLAS_PARTITIONS": "Partitions of every partitioned topic; never change it once the installation exists.",
    "DATABASE_URL": "The read model's database, as a SQLAlchemy URL.",
    "ATLAS_HOST": "The address that surfaces and operations ports listen on.",
    "ATLAS_METRICS_PORT": (
        "The operations port. Defaults: gateway 9100, admission 9101, control 9102, delivery 9103, projection 9104, "
        "lifecycle 9105."
    ),
    "ATLAS_SURFACES": "The surfaces that a gateway process serves (`events,burn`); unset: all.",
    "ATLAS_EVENTS_PORT": "The events surface's port.",
    "ATLAS_WORK_PORT": "The work surface's port.",
    "ATLAS_SPINE_PORT": "The spine's port.",
    "ATLAS_BURN_PORT": "The port of AtlasBurn and its edge proxy.",
    "ATLAS_CATALOG": (
        "strict: the spine refuses types that are neither the platforms' own nor registered, and data that does not "
        "fit "
        "them."
    ),
    "SCHEMA_REGISTRY_URL": "The URL of a schema registry; if it is set, records are in its wire format.",
    "ATLAS_ALLOW_PRIVATE_TARGETS": "1 allows workflows with private and loopback addresses; for development only.",
    "ATLAS_VERDICT_TIMEOUT_SECONDS": (
        "How long a request waits for its verdict: an event from its sending on, then 202; "
        "a command in addition to its append's time-out, then 503."
    ),
    "ATLAS_APPEND_TIMEOUT_SECONDS": "How long a request waits for the broker to confirm its record; then 503.",
    "ATLAS_READ_TIMEOUT_SECONDS": "How long a read waits for the read model to catch up; then 503 `read_model_behind`.",
    "ATLAS_RETRY_LADDER": (
        "Retry schedules in place of the documents', by class of endpoint: `events:30s,1m,5m;work:1s,5s..24h` "
        "(`..24h` repeats the last step until that much time has passed). The defaults are in "
        "docs/receiving-webhooks.md."
    ),
    "ATLAS_ATTEMPT_TIMEOUT_SECONDS": "How long one attempt at an endpoint may take, until its status line has arrived.",
    "ATLAS_SESSION_SECONDS": "How long a group waits without a worker's heartbeats before others get its partitions. "
    "With several brokers it must be longer than they take to replace a dead one: see docs/production.md.",
    "ATLAS_REPLAYS_PER_SECOND": "Events a second that the bulk replays of a lifecycle process hand to delivery.",
    "ATLAS_MAX_WAITERS": "How many requests may wait for a verdict in one gateway; further ones get 503.",
    "ATLAS_DRAIN_SECONDS": (
        "How long a gateway serves on after SIGTERM while `/readyz` says draining, so that load balancers stop "
        "sending to "
        "it; in the second half each answer closes its connection. `atlas up` sets 0."
    ),
    "ATLAS_RATE_LIMITS": "off: no limits, and nothing is allocated to gateways.",
    "ATLAS_RATE_OVERRIDES": (
        'Quotas in place of the classes\' own, by workspace (`*`: all) and class: `{"*": {"events": 6000}}`, or '
        '`{"per_minute": 6000, "burst": 1000}` instead of the number. A workspace\'s own `limit` comes first.'
    ),
    "PUBLIC_API_RATE_OVERRIDES": 'The same for the work surface\'s classes: `{"<tenant id>": {"read": 600}}`.',
    "ATLAS_LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR.",
    "ATLAS_ALLOWED_HOSTS": (
        "Host names (`api.example.com`) that are served, separated by commas; others get 421. Unset: any."
    ),
    "ATLAS_TRUSTED_PROXIES": "Networks of proxies whose `X-Forwarded-For` is trusted, separated by commas.",
    "ATLAS_LLM_BASE_URL": "The OpenAI-compatible provider of `/v1/ai/*`; unset: 503 `ai_not_configured`.",
    "ATLAS_LLM_API_KEY": "The provider's key; a local server may need none.",
    "ATLAS_LLM_MODEL": "The model that is called.",
    "ATLAS_LLM_TIMEOUT_SECONDS": "How long the model's answer may take.",
    "ATLAS_CONTROL_BEHIND_SECONDS_MAX": (
        "How old the view of keys may be before requests that show or change settings (streams, keys, …) get 503."
    ),
    "ATLAS_JWT_ISSUER": "The `iss` that a session's token must have.",
    "ATLAS_JWT_AUDIENCE": "The `aud` that a session's token must have.",
    "ATLAS_JWT_SECRET": "Sessions are signed with HS256 and this secret, 32 bytes or more.",
    "ATLAS_JWT_JWKS": "Sessions are signed with a key of this JWKS: an https URL, or a file.",
    "ATLAS_EDGE_PROVIDERS": (
        "OpenAI-compatible providers of the edge proxy, by name and base URL; also other base URLs for known "
        "providers: "
        '`{"groq": "https://api.groq.com/openai/v1"}`.'
    ),
    "ATLAS_EDGE_TIMEOUT_SECONDS": "How long a provider may be silent, before its answer and within it; then 504.",
    "ATLAS_EDGE_ASK_USAGE": (
        "Whether the edge proxy asks OpenAI-compatible providers for a stream's usage if its caller doesn't "
        "(`stream_options.include_usage`); off: the usage of such streams is estimated from their text."
    ),
    "ATLAS_EDGE_FORWARD_UNREADABLE": (
        "Whether the edge proxy forwards calls whose cost it can't read (batches, images, audio); it counts the tokens "
        "that their answers report. Never under a strict budget."
    ),
    "ATLAS_PRICES": (
        "A YAML file of prices that add to those of domain/guardrails/prices.yaml, or replace them: "
        "`models: {my-model: {in: 1.0, out: 2.0}}`, in US dollars a million tokens. The same on gateway and control."
    ),
    "ATLAS_EDGE_SPOOL_MIB": "How much telemetry a gateway process keeps on disk while the log is away.",
    "CF_ACCOUNT_ID": (
        "The Cloudflare account whose KV namespace mirrors kill flags; set it with the next two, or none of the three."
    ),
    "CF_KV_NAMESPACE_ID": "The namespace that edge workers read as `GUARDRAIL_FLAGS`.",
    "CF_API_TOKEN": "A Cloudflare token that may write to the namespace.",
    "CF_API_URL": "Where Cloudflare's API is.",
    "ATLAS_CACHE": "A directory for the broker's jars of all versions, so that several checkouts can share them.",
    "ATLAS_STATUS_TARGETS": (
        "Operations ports (`host:port`, separated by commas) that `atlas status` asks besides Kafka."
    ),
    "ATLAS_KAFKA_VERSION": (
        "The broker version of `atlas up`: 4.1.0, 4.3.1 or 4.4.0. An older broker refuses the data of a newer one."
    ),
}

# Where a default isn't a field of Settings of the same name, or is better told in other words.
DEFAULTS = {
    "ATLAS_HOME": ".atlas",
    "ATLAS_PORT_BASE": "",
    "ATLAS_MASTER_KEY": "$ATLAS_HOME/master.key",
    "ATLAS_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    "ATLAS_KAFKA_SASL_MECHANISM": "PLAIN",
    "ATLAS_KAFKA_SASL_USERNAME": "",
    "ATLAS_KAFKA_SASL_PASSWORD": "",
    "ATLAS_KAFKA_SSL_CA": "",
    "ATLAS_KAFKA_SSL_CERTIFICATE": "",
    "ATLAS_KAFKA_SSL_KEY": "",
    "ATLAS_ALLOWED_HOSTS": "",
    "ATLAS_TRUSTED_PROXIES": "",
    "ATLAS_CACHE": "deploy/kafka/jars",
    "ATLAS_KAFKA_VERSION": "4.1.0",
    "ATLAS_STATUS_TARGETS": "",
    "ATLAS_RATE_LIMITS": "on",
    "ATLAS_RETRY_LADDER": "",
    "ATLAS_RATE_OVERRIDES": "",
    "ATLAS_EDGE_PROVIDERS": "",
    "ATLAS_EDGE_ASK_USAGE": "on",
    "ATLAS_EDGE_FORWARD_UNREADABLE": "off",
    "ATLAS_EDGE_SPOOL_MIB": "256",
    "ATLAS_PRICES": "",
    "ATLAS_LLM_BASE_URL": "",
    "ATLAS_LLM_API_KEY": "",
    "ATLAS_LLM_MODEL": "gpt-4o-mini",
    "CF_ACCOUNT_ID": "",
    "CF_KV_NAMESPACE_ID": "",
    "CF_API_TOKEN": "",
    "CF_API_URL": "https://api.cloudflare.com/client/v4",
    "PUBLIC_API_RATE_OVERRIDES": "",
}

TOPICS = {
    "events.<workspace>.<environment>.<stream>": TopicMeaning(
        "idempotency key or event id", "Event", "One topic a stream, written by gateways and direct producers."
    ),
    "routes.<workspace>.<environment>.<topic>": TopicMeaning(
        "idempotency key or event id",
        "the event's `data`",
        "What a workflow of kind `kafka` gets, one record an event (docs/kafka-routes.md); written by delivery.",
    ),
    "admission": TopicMeaning(
        "idempotency key or event id",
        "Event",
        "Direct records that were on another partition than their key's, written once more to the right one.",
    ),
    "decisions": TopicMeaning(
        "the source record's partition",
        "Decision",
        "Admission's decision about each source record; read by projection.",
    ),
    "commands": TopicMeaning("workspace", "Command", "Requests to change an entity; decided by control."),
    "items": TopicMeaning("`kind/id`", "Entity", "The whole state of each project and task; written by control alone."),
    "control": TopicMeaning("`kind/id`", "Entity", "The whole state of each entity; written by control alone."),
    "verdicts": TopicMeaning(
        "the waiting gateway's partition", "Verdict", "Answers to waiting requests; each gateway reads one partition."
    ),
    "burn.telemetry": TopicMeaning(
        "workspace",
        "Telemetry",
        (
            "Model calls, and everything else that changes an organization's guardrails; decided by control, read by "
            "projection."
        ),
    ),
    "deliveries": TopicMeaning("endpoint", "Delivery", "Deliveries to make; written by admission, read by delivery."),
    "outcomes": TopicMeaning("event", "Outcome", "The result of each attempt; read by projection."),
    "audit": TopicMeaning("workspace", "Audit", "Who changed what, with which key, from which address."),
    "usage": TopicMeaning(
        "the bucket",
        "Usage",
        "What gateways used of each bucket, and their heartbeats; read by control to allocate rates.",
    ),
    "quotas": TopicMeaning(
        "the bucket, or `gateways`", "Shares", "How buckets are allocated; written by control, read by every gateway."
    ),
    "positions": TopicMeaning(
        "`group/topic`",
        "KeptPosition",
        "How far each group has handled each partition; read when Kafka has forgotten the group's offsets.",
    ),
    "dead-letters": TopicMeaning(
        "source topic",
        "DeadLetter",
        "Records that couldn't be read or routed, each with its topic, partition, offset and reason.",
    ),
}

# Where the code's own message isn't the best word: it has none of its own, or many.
ERRORS = {
    "header_not_utf8": "A header for the provider holds bytes that are not UTF-8, so it can't be forwarded.",
    "suspended": "The organization is suspended by a guardrail; the message names the layer and the reason.",
    "budget_exceeded": "A strict budget has no room for the call's worst cost; the message names the cap.",
    "too_many_reservations": "The organization has the largest allowed number of reservations under way.",
    "workflow_not_signed": "Records on a topic have no signature, so the workflow has no secret.",
    "invalid_request": "The request can't be read or breaks its schema; `details.errors` names each field.",
    "idempotency_key_reused": "The key was used for another command within 24 hours.",
    "stream_limit_reached": "The workspace has 100 streams.",
    "key_limit_reached": "The workspace has 1,000 keys that are not revoked.",
    "replay_limit_reached": "The workspace has the largest allowed number of replays under way.",
    "topic_limit_reached": "The workspace has 100 topics of workflows, including those deleted in the last 14 days.",
    "topic_taken": "Another workflow writes to the topic.",
    "stream_not_created": "The Kafka cluster refuses to create the stream's topic; the control process's log says why.",
    "workflow_not_created": "The Kafka cluster refuses to create the topic; the control process's log says why.",
    "topic_exists": "A Kafka topic of that name exists and can't be taken over; the message says why and what to do.",
    "event_type_limit_reached": "The organization has 500 registered event types in the environment.",
    "dependency_graph_too_large": "The new dependency leads to more than 5,000 tasks, so a cycle can't be looked for.",
    "task_has_dependents": "Other tasks depend on the task.",
    "version_conflict": "The item has another version than the request's `If-Match` names.",
    "incompatible_schema": "Events that fit the present schema may not fit the new one; the message says where.",
    "secret_not_issued": "The subscriber chose the secret, so Atlas has no other to give.",
    "subscription_limit_reached": (
        "The organization has the largest allowed number: 10 subscriptions of the spine, 50 webhooks of work."
    ),
    "webhook_endpoint_limit_reached": "The workspace has the largest allowed number of webhook endpoints.",
}
