"""What became of an event: questions to the read model (queries), what the answers mean (stored), how they look."""

from ingest_gateway.read_model.queries import ReadModel, ReadModelUnavailable
from ingest_gateway.read_model.stored import StoredEvent
from ingest_gateway.read_model.views import event_view

__all__ = ["ReadModel", "ReadModelUnavailable", "StoredEvent", "event_view"]
