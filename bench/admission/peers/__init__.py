"""Other stream processors that do admission's least part, for comparison: read, dedupe by key, write a verdict."""
