"""Guardrails: reads `burn.telemetry`, decides which organization's calls must stop. A part of the process `control`."""
