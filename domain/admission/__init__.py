"""Admission: from a record of a stream's topic to all that it causes. effects.py says what follows from what."""
