"""Lifecycle: what becomes of an event over all its routes, told to webhook endpoints; and replays.

Read in this order: decide (which outcome is told, to whom, in which words), replaying (what a replay sends), selection
(which events those are), worker (replays, step by step), agent.
"""
