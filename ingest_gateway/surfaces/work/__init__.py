"""The AtlasWork API: projects, tasks, webhooks, tokens. Routes are in app.py, errors in errors.py."""
