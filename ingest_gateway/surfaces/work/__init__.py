"""The AtlasWork API: projects, tasks, webhooks, tokens. Its routes are listed in app.py."""
