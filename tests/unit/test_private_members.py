"""Tests ask by public ways. What still reaches into private members is listed, with the reason; the list shrinks."""

import ast
import re
from pathlib import PurePosixPath

from tests.traceability import tree
from tests.traceability.catalogue import ROOT

PUBLIC = re.compile(r"_(asdict|exit|fields|make|replace|[A-Z][A-Z_]*)")
"""Methods of named tuples, `os._exit`, and Kafka's codes of errors that are the client's own."""
MEMBERSHIP = "aiokafka's coordinator, which the transport overrides: its answers come from no public call"
LISTED = {
    "tests/unit/test_runtime_offsets.py": (12, "offsets between a revocation and the next assignment, step by step"),
    "tests/unit/test_runtime_membership.py": (19, MEMBERSHIP),
    "tests/unit/test_runtime_tables.py": (2, "RocksDB is made to compact, which nobody else asks of it"),
    "tests/unit/test_reader_thread.py": (5, "a thread that ends by itself is made to"),
    "tests/unit/test_delivery_routes.py": (5, "what a reader of `control` is told by its thread"),
    "tests/unit/test_delivery_rebalances.py": (1, "an outcome that the broker does not confirm"),
    "tests/unit/test_direct_records.py": (5, "a codec's registry ids are one of this process; they are put back"),
    "tests/contract/test_schema_registry.py": (6, "the same"),
    "tests/unit/test_cluster_admin.py": (2, "Kafka's AdminClient is replaced by one that answers as a script says"),
    "tests/unit/test_live_parts.py": (2, "the task that reads is awaited, to see how it ends"),
    "tests/unit/test_edge_usage.py": (1, "that a body is not kept whole shows in nothing but memory"),
    "tests/unit/test_docs.py": (3, "functions of the generator, which has one public way: to write the page"),
    "tests/unit/test_tidy.py": (1, "the walk of a tree without git, in one that has it"),
    "tests/contract/edge/test_sdks.py": (1, "`_request_id` is the public name in OpenAI's SDK"),
    "tests/contract/events/test_publish.py": (2, "the gauge of waiters is the newest waiter's, of whichever test"),
    "tests/contract/http/test_bodies.py": (1, "how often a line is cut is counted"),
    "tests/contract/http/wire.py": (1, "whether bytes wait in asyncio's reader, without taking them"),
    "tests/pipeline/test_moved_leaders.py": (1, "which broker an AdminClient takes for the controller"),
    "tests/support/access.py": (1, "pauses between questions are taken away"),
    "tests/support/three_brokers.py": (1, "a request of the protocol that the client has no call for"),
    "tests/support/unheard_worker.py": (2, "a worker whose requests are lost"),
    "tests/traceability/reference.py": (6, "prometheus_client's metrics have no public name, kind or labels"),
}


def private_members(text: str) -> list[str]:
    """Attributes with an underscore of what is not the test's own object."""
    found = []
    for node in ast.walk(tree.parsed(text)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            of_its_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            inherited = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super"
            if not (of_its_own or inherited or PUBLIC.fullmatch(node.attr)):
                found.append(node.attr)
    return found


def test_private_members_are_those_that_are_listed() -> None:
    """Fewer than listed: take the number down."""
    used = {
        path.as_posix(): len(found)
        for path in tree.python_files("tests")
        if (found := private_members((ROOT / path).read_text(encoding="utf-8")))
    }
    assert used == {path: count for path, (count, _why) in LISTED.items()}


def test_a_private_member_is_found() -> None:
    source = "log._waiting\nself._mine\nsuper()._start()\nrow._replace(a=1)\nKafkaError._ALL_BROKERS_DOWN\nx.__dict__"
    assert private_members(source) == ["_waiting"]
    assert PurePosixPath("tests/unit/test_private_members.py") in tree.python_files("tests")
