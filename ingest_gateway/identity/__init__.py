"""Who calls: keys, what each may do, and how a token becomes a principal."""
