"""The Atlas Events API: streams, workflows, events. Routes are in app.py, errors in errors.py."""
