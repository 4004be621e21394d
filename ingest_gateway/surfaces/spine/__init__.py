"""The event spine: publish, query and subscribe across platforms."""
