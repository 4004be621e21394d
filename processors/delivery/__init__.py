"""Delivery: each admitted event goes to each of its routes by a signed POST, and every attempt is recorded on the log.

Rules are in domain/delivery; docs/deliveries.md shows the states of a delivery. Read here in this order: agent (from
the log into the queues, partitions), loaded (what is in memory), attempts and sender (one attempt, with routes,
http_client and route_topics), recorder (outcomes and the retry table), due_loader (from the retry table into memory).
"""
