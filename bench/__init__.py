"""Measurements of a whole Atlas, each a command of its own (`make bench-…`) that starts and removes what it needs."""
