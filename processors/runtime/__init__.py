"""What makes Faust fast and safe: whole fetches instead of records, an outbox, durable tables, one process shape.

Group membership, rebalancing and commits stay Faust's. Read in this order: batches, fetcher, transport, outbox,
table, runtime.
"""
