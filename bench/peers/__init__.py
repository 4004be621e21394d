"""`make bench-peers`: the gateway beside an older one, a bare one that checks nothing, and Benthos, in one run."""
