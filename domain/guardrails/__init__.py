"""What model calls cost, and when an organization is warned or suspended."""
