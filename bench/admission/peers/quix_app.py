"""quixstreams: read a topic, dedupe by key against its state store, write a verdict. Run by its own interpreter.

State is RocksDB with its changelog topic; at least once. Its settings are in the environment (running.py). It measures
itself from its first event to its `COUNT`th.
"""

import json
import os
import time
from typing import Any

from quixstreams import Application

COUNT = int(os.environ["COUNT"])
app = Application(
    broker_address=os.environ["BOOTSTRAP"],
    consumer_group=os.environ["GROUP"],
    auto_offset_reset="earliest",
    state_dir=os.environ["DATA_DIR"],
    commit_interval=1.0,
    producer_extra_config={"acks": "all", "linger.ms": 5},
    loglevel="WARNING",
)
events = app.topic(os.environ["TOPIC_IN"], value_deserializer="bytes", key_deserializer="bytes")
verdicts = app.topic(os.environ["TOPIC_OUT"], value_serializer="bytes", key_serializer="bytes")
began: tuple[float, float] | None = None
done = 0


def admit(value: bytes, state: Any) -> bytes:
    global began, done
    if began is None:
        began = time.monotonic(), time.process_time()
    if state.get("v") is None:
        state.set("v", 1)
        verdict = b"new"
    else:
        verdict = b"dup"
    done += 1
    if done == COUNT:
        seconds, cpu_seconds = time.monotonic() - began[0], time.process_time() - began[1]
        print("RESULT", json.dumps({"events": done, "seconds": seconds, "cpu_seconds": cpu_seconds}), flush=True)
    return verdict + value[:16]


decided = app.dataframe(events).apply(admit, stateful=True).to_topic(verdicts)

if __name__ == "__main__":
    app.run(timeout=15.0, count=COUNT)
