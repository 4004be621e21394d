"""Every command by its kind: who decides it."""
