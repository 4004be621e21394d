"""What the dashboard shows, as a table: rows of panels, each with its unit and its queries.

`$surface` is the dashboard's variable, `$__rate_interval` Grafana's: four scrapes or more. A new metric gets its line
here, then `make docs`; a test wants every metric on the dashboard, and every query to return data in a run.
"""

from deploy.grafana.queries import OURS, RATE, SURFACE, Graph, Query, Stat, latency, mean, now, quantile, rate, worst

ATTEMPTS = "atlas_delivery_attempts_total"
FAILED = '{outcome!="delivered"}'

STATS = [
    Stat(
        "Processes not ready",
        "Processes whose /readyz says no, and targets that don't answer.",
        "none",
        'count(atlas_ready{job="atlas"} == 0 or up{job="atlas"} == 0) or vector(0)',
        red=1,
    ),
    Stat(
        "Requests",
        "Answered a second, of the surfaces chosen.",
        "reqps",
        f"sum(rate(atlas_http_requests_total{SURFACE}[{RATE}]))",
    ),
    Stat(
        "Events admitted",
        "New events a second, from HTTP and Kafka.",
        "short",
        f'sum(rate(atlas_decisions_total{{outcome="admitted"}}[{RATE}]))',
    ),
    Stat(
        "Delivered",
        "Attempts a second that an endpoint acknowledged.",
        "short",
        f'sum(rate({ATTEMPTS}{{outcome="delivered"}}[{RATE}]))',
    ),
    Stat(
        "First delivery p99",
        "From the append to the end of the first attempt that delivered.",
        "s",
        quantile(0.99, "atlas_first_delivery_seconds"),
        orange=0.15,
        red=1,
    ),
    Stat("Records waiting", "Lag over all groups.", "short", "sum(atlas_lag_records)", orange=1_000, red=20_000),
    Stat(
        "Attempts failed",
        "Share of the attempts of the last 15 minutes.",
        "percentunit",
        f"sum(increase({ATTEMPTS}{FAILED}[15m])) / sum(increase({ATTEMPTS}[15m]))",
        red=0.2,
    ),
    Stat(
        "Dead letters, last hour",
        "Records set aside.",
        "short",
        "sum(increase(atlas_dead_letters_total[1h]))",
        red=1,
    ),
]

ROWS: dict[str, list[Graph]] = {
    "In: requests and the log": [
        Graph(
            "Requests by operation",
            "Answered a second.",
            "reqps",
            [rate("atlas_http_requests_total", "operation", SURFACE)],
            stacked=True,
        ),
        Graph(
            "Requests by status",
            "Answered a second; 499 is a client that left.",
            "reqps",
            [rate("atlas_http_requests_total", "status", SURFACE)],
            stacked=True,
        ),
        Graph(
            "Request latency",
            "From the complete head to the answer.",
            "s",
            latency("atlas_http_request_seconds", "operation", SURFACE),
        ),
        Graph(
            "Produce latency", "From queueing a record to the broker's answer.", "s", latency("atlas_produce_seconds")
        ),
        Graph(
            "Verdict latency",
            "From asking admission or control to having the verdict.",
            "s",
            latency("atlas_verdict_seconds"),
        ),
        Graph(
            "Events sent",
            "To the events surface a second, one by one or in batches.",
            "short",
            [rate("atlas_events_published_total", "way, result")],
        ),
        Graph(
            "Queued and waiting",
            "Records on their way to the broker, and requests that wait for a verdict.",
            "short",
            [
                now("atlas_produce_queue_records", "instance", "records {{instance}}"),
                worst("atlas_produce_oldest_seconds", "instance", "oldest, seconds {{instance}}"),
                now("atlas_verdict_waiters", "instance", "waiters {{instance}}"),
            ],
        ),
        Graph(
            "Trouble with the log",
            "Records not confirmed, reports and verdicts that came too late, a second.",
            "short",
            [
                rate("atlas_produce_failures_total", legend="not confirmed"),
                rate("atlas_produce_late_reports_total", legend="late reports"),
                rate("atlas_verdicts_late_total", legend="late verdicts"),
                rate("atlas_verdicts_unclaimed_total", legend="unclaimed verdicts"),
            ],
        ),
        Graph(
            "Not HTTP as we take it",
            "Connections closed for what came in, a second.",
            "short",
            [rate("atlas_http_unreadable_total", "reason")],
        ),
        Graph(
            "Refused callers",
            "Requests a second refused for their rate or their credential.",
            "reqps",
            [
                rate("atlas_rate_limited_total", legend="429"),
                rate("atlas_authentication_failures_total", legend="credential"),
            ],
        ),
        Graph(
            "Live streams",
            "Readers of live streams, those cut off a second, and events handed to them a second.",
            "short",
            [
                Query("sum(atlas_live_readers)", "readers"),
                rate("atlas_live_readers_dropped_total", legend="dropped"),
                rate("atlas_live_events_total", legend="events"),
            ],
        ),
        Graph(
            "Rate limits shared out",
            "Buckets and gateways, as gateways and the dealing agent know them.",
            "short",
            [
                now("atlas_rate_limit_buckets", legend="buckets kept"),
                Query("max(atlas_rate_limit_gateways)", "gateways known to gateways"),
                now("atlas_rate_buckets", legend="buckets allocated"),
                Query("max(atlas_rate_gateways)", "gateways heard of"),
            ],
        ),
        Graph(
            "Rate limit traffic",
            "Deals written and reports lost, a second.",
            "short",
            [
                rate("atlas_rate_deals_total", legend="deals"),
                rate("atlas_rate_reports_lost_total", legend="reports lost"),
            ],
        ),
    ],
    "Deciding: admission and control": [
        Graph(
            "Admission decisions",
            "Records of stream topics a second, by outcome.",
            "short",
            [rate("atlas_decisions_total", "outcome")],
            stacked=True,
        ),
        Graph("Lag by group", "Records not handled yet.", "short", [now("atlas_lag_records", "group")]),
        Graph("Held back", "By producers' open transactions.", "short", [now("atlas_held_back_records", "group")]),
        Graph("Held back for", "By the oldest of them.", "s", [now("atlas_held_back_seconds", "group")]),
        Graph("Incomplete lists", "Without what is held back.", "short", [rate("atlas_reads_incomplete_total")]),
        Graph("Records handled", "A second, by agent.", "short", [rate("atlas_records_total", "agent")]),
        Graph("Batch size", "Records in a batch, on average.", "short", [mean("atlas_batch_records", "agent")]),
        Graph(
            "Batch time",
            "From handing a batch out until all that it caused was confirmed.",
            "s",
            latency("atlas_batch_seconds", "agent"),
        ),
        Graph(
            "Outbox",
            "How long a batch waits for the broker's confirmation.",
            "s",
            latency("atlas_outbox_confirm_seconds", "process"),
        ),
        Graph(
            "Outbox queue",
            "Records on their way, and times a second that the local queue was full.",
            "short",
            [
                now("atlas_outbox_waiting_records", "process"),
                rate("atlas_outbox_full_total", "process", legend="{{process}} full"),
            ],
        ),
        Graph(
            "Commands",
            "Decided a second, by kind and outcome; and repeats.",
            "short",
            [
                rate("atlas_commands_total", "kind, outcome"),
                rate("atlas_commands_repeated_total", legend="repeated"),
            ],
        ),
        Graph(
            "Stream topics",
            "Work on them: finished a second, waiting, and how long it takes; and topics that belong to no stream.",
            "short",
            [
                rate("atlas_topic_tasks_total", "task, outcome"),
                now("atlas_topic_tasks_waiting", legend="waiting"),
                Query(quantile(0.99, "atlas_topic_task_seconds"), "p99 seconds"),
                now("atlas_unread_topics", legend="without a stream"),
                now("atlas_unread_records", legend="records without a stream"),
            ],
        ),
    ],
    "Out: deliveries": [
        Graph("Attempts by outcome", "Ended a second.", "short", [rate(ATTEMPTS, "outcome")], stacked=True),
        Graph(
            "First delivery",
            "From the append to the end of the first attempt that delivered.",
            "s",
            latency("atlas_first_delivery_seconds"),
        ),
        Graph("Attempt time", "Connection, TLS, answer.", "s", latency("atlas_delivery_attempt_seconds")),
        Graph(
            "Failed attempts",
            "A second, by what went wrong; on the schedule each is tried again.",
            "short",
            [rate(ATTEMPTS, "outcome", FAILED)],
        ),
        Graph(
            "Retries are late by",
            "From the time that a retry was due to its start; 0 while none starts.",
            "s",
            [
                Query(f"{query.expr} >= 0 or vector(0)", query.legend)
                for query in latency("atlas_delivery_retry_late_seconds")
            ],
        ),
        Graph(
            "Running and waiting",
            "Attempts under way, deliveries queued for their endpoint, outcomes the broker has not confirmed.",
            "short",
            [
                now("atlas_delivery_running", legend="running"),
                now("atlas_delivery_waiting", legend="waiting"),
                now("atlas_delivery_unconfirmed_outcomes", legend="unconfirmed outcomes"),
            ],
        ),
        Graph(
            "Kept in the table",
            "Deliveries stored a second because memory is full, and those in memory that are due.",
            "short",
            [
                rate("atlas_delivery_spilled_total", legend="put into the table"),
                now("atlas_delivery_fetched", legend="fetched from it"),
            ],
        ),
        Graph(
            "Endpoints in trouble",
            "Endpoints not sent to or probed one at a time; times a second that reading waited for capacity.",
            "short",
            [
                now("atlas_delivery_open_circuits", legend="open circuits"),
                rate("atlas_delivery_backpressure_total", legend="waits for capacity"),
            ],
        ),
        Graph(
            "Webhooks and replays",
            "Outcome webhooks and replayed events a second; replays under way.",
            "short",
            [
                rate("atlas_webhooks_total", legend="webhooks"),
                rate("atlas_replayed_events_total", legend="replayed"),
                rate("atlas_replay_skipped_events_total", legend="passed over"),
                now("atlas_replays_running", legend="replays running"),
            ],
        ),
    ],
    "Guardrails": [
        Graph(
            "Model calls",
            "Counted a second, duplicates, and those too late for any window.",
            "short",
            [
                rate("atlas_guardrail_calls_total", "when"),
                rate("atlas_guardrail_duplicates_total", legend="duplicates"),
            ],
        ),
        Graph(
            "Layers that tripped",
            "A second, by layer and mode.",
            "short",
            [rate("atlas_guardrail_trips_total", "layer, mode")],
        ),
        Graph(
            "Budget warnings",
            "Caps of which half, four fifths or all was spent, a second.",
            "short",
            [rate("atlas_guardrail_budget_warnings_total", "percent")],
        ),
        Graph(
            "Reservations",
            "Asked of strict budgets a second, by answer.",
            "short",
            [rate("atlas_guardrail_reservations_total", "outcome")],
        ),
    ],
    "Read model": [
        Graph(
            "Visible after",
            "From the append to the read model; the oldest event of each transaction.",
            "s",
            latency("atlas_projection_visible_seconds"),
        ),
        Graph("Transactions", "How long they take.", "s", latency("atlas_projection_transaction_seconds")),
        Graph(
            "Rows and records",
            "Rows a second by table; records a transaction; what was tried again or has expired, a second.",
            "short",
            [
                rate("atlas_projection_rows_total", "table"),
                mean("atlas_projection_transaction_records", legend="records a transaction"),
                rate("atlas_projection_retries_total", legend="retries"),
                rate("atlas_projection_expired_total", legend="events expired"),
                now("atlas_projection_database_away", legend="database away"),
            ],
        ),
    ],
    "Edge proxy: calls of models": [
        Graph(
            "Proxied calls",
            "By what became of them, a second.",
            "reqps",
            [rate("atlas_edge_calls_total", "outcome")],
            stacked=True,
        ),
        Graph(
            "Time to the provider's answer",
            "From a call's arrival to its answer's beginning, by provider.",
            "s",
            latency("atlas_edge_first_byte_seconds", "provider"),
        ),
        Graph(
            "Open calls",
            "Under way, streams included; frames that passed unread, a second.",
            "short",
            [
                now("atlas_edge_open_calls", legend="open"),
                rate("atlas_edge_frames_unread_total", legend="frames unread"),
            ],
        ),
        Graph(
            "Where tokens came from",
            "Calls a second.",
            "reqps",
            [rate("atlas_edge_usage_total", "usage")],
            stacked=True,
        ),
        Graph(
            "Telemetry",
            "Records a second, by the way they took.",
            "short",
            [rate("atlas_edge_telemetry_records_total", "way"), now("atlas_edge_log_away", legend="log away")],
        ),
        Graph("Telemetry on disk", "Waits for the log.", "bytes", [now("atlas_edge_spool_bytes")]),
        Graph(
            "Mirror of flags at Cloudflare",
            "Age of the oldest change that is not there yet; changes sent a second.",
            "short",
            [now("atlas_kv_mirror_lag_seconds", legend="lag"), rate("atlas_kv_mirror_writes_total", "outcome")],
        ),
    ],
    "Trouble: what was set aside, who moved": [
        Graph(
            "Dead letters",
            "Set aside in 5 minutes, by group and reason.",
            "short",
            [
                Query(
                    "sum by (group, reason) (increase(atlas_dead_letters_total[5m])) > 0 "
                    "or sum by (group) (increase(atlas_dead_letters_total[5m]))",
                    "{{group}} {{reason}}",
                )
            ],
        ),
        Graph(
            "Records missed",
            "What retention took before a group had read it; there should be none.",
            "short",
            [Query("sum by (group) (atlas_records_missed_total)", "{{group}}")],
        ),
        Graph(
            "Rebalances",
            "Assignments received, and given up because a broker was away, in 5 minutes.",
            "short",
            [
                Query("sum by (group) (increase(atlas_rebalances_total[5m]))", "{{group}}"),
                Query("sum by (group) (increase(atlas_assignments_given_up_total[5m]))", "{{group}} given up"),
            ],
        ),
        Graph(
            "Tables opened",
            "Time to open a partition, and changelog records applied a second.",
            "short",
            [
                Query(
                    "max by (table) (atlas_table_open_seconds_sum / atlas_table_open_seconds_count)",
                    "{{table}} mean seconds",
                ),
                rate("atlas_table_recovered_total", "table", legend="{{table}} records/s"),
            ],
        ),
    ],
    "Processes": [
        Graph("Memory", "Resident.", "bytes", [now(f"process_resident_memory_bytes{OURS}", "process")]),
        Graph("Processor time", "Cores used.", "none", [rate("process_cpu_seconds_total", "process", OURS)]),
        Graph("Ready", "1 while /readyz says yes.", "none", [Query("min by (process) (atlas_ready)", "{{process}}")]),
        Graph("Degraded", "1 while /readyz names it.", "none", [worst("atlas_degraded", "process, what")]),
        Graph(
            "Readers that failed",
            "Threads that read the log and ended with an error, a second.",
            "short",
            [rate("atlas_reader_failures_total", "process, reader")],
        ),
        Graph("View of control", "How old it may be.", "s", [worst("atlas_control_behind_seconds", "process")]),
        Graph("Open files", "Sockets included.", "short", [now(f"process_open_fds{OURS}", "process")]),
        Graph(
            "Age",
            "Since the last start.",
            "s",
            [Query(f"time() - max by (process) (process_start_time_seconds{OURS})", "{{process}}")],
        ),
        Graph(
            "Garbage collections",
            "Of the oldest generation, a second.",
            "short",
            [rate("python_gc_collections_total", "process", '{job="atlas",generation="2"}')],
        ),
    ],
}
