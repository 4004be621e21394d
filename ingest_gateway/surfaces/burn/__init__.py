"""The burn surface (seeds/003): telemetry in, guardrails, forecast."""
