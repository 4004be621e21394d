"""Commands about tenants, keys, streams, workflows and subscriptions."""
