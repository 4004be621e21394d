"""One package a public API: its routes, its models, its own error format."""
