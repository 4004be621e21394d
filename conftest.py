"""Loads the traceability plugin for every test. Here, since pytest takes plugins from the top level only."""

pytest_plugins = ["tests.traceability.plugin"]
