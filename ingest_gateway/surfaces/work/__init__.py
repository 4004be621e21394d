"""The AtlasWork API (seeds/001): projects, tasks, webhooks, tokens. Routes are in app.py, errors in faults.py."""
