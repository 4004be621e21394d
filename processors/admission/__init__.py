"""Admission: every record of a stream topic is decided once, by the owner of its partition, in the log's order."""
