"""JSON as Atlas takes it: strictly read, in canonical form, checked against a schema."""
