"""How many requests a workspace may send: leaky buckets, their headers, their allocation among gateways."""
