"""AtlasBurn through real processes."""
