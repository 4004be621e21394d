"""What gateway and processors share, and nothing else: names, shapes and pure functions over them."""
