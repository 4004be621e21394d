"""The Atlas Events API: streams, workflows, events. Its routes are listed in app.py."""
