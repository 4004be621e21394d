"""HTTP as every surface needs it: framing, guards, bodies, errors. Knows no surface, no Kafka and no key."""
