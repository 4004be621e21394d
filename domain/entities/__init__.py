"""What is registered: the view of `control` that every process keeps, and which subscriptions match."""
