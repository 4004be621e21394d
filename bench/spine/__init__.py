"""`make bench-spine`: what matching costs an event, and live streams beside a reader that stalls."""
