"""What follows from a record of a stream's topic once idempotency has decided."""
