"""Writes the read model: decisions and outcomes become rows, in large transactions that carry their own positions."""
