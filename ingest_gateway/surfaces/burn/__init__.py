"""The burn surface: telemetry in, guardrails, forecast."""
