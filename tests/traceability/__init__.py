"""Which requirement is shown by which test: the list of rows, the pytest plugin that records, the report."""
