"""HTTP as every surface needs it: framing, guards, bodies, faults. Knows no surface, no Kafka and no key."""
