"""The Atlas Events API (seeds/000): streams, workflows, events. Routes are in app.py, errors in faults.py."""
