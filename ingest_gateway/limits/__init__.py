"""How often a workspace may ask: leaky buckets, what requests are told of them, shares of them among gateways."""
