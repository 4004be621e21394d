"""The rules of delivery.

states: the life of a delivery. decide: what an answer means. retry_schedule: when the next attempt is due. bodies and
signatures: what is sent. retry_table: what waits. endpoint_queues, endpoint_gates and circuit_breaker: which delivery
starts next. targets: which addresses may be sent to. outcome_webhooks, webhooks and replays: deliveries that other
deliveries or users cause.
"""
