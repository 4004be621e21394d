"""What the edge proxy adds to a call, can carry, and holds: beside a direct call, and beside LiteLLM's proxy."""
