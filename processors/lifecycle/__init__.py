"""Lifecycle: notifies webhook endpoints of what becomes of events, and works on replays.

Rules: domain/delivery/outcome_webhooks.py and replays.py. Here: agent (outcomes in, webhooks out), selection (which
events a replay is about), replay_worker (replays, step by step).
"""
