"""The LLM edge proxy of the burn surface (B-041 to B-047, B-059): `edge.app.add_edge` puts it on the application."""
