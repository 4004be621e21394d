"""The broker, the process and the readers are those of the admission tests."""

from tests.pipeline.admission.conftest import a_stream, admission, broker, home, process, written

__all__ = ["a_stream", "admission", "broker", "home", "process", "written"]
