"""Stock faust-streaming: read a topic, dedupe by key in a RocksDB table with its changelog, write a verdict.

python faust_app.py worker -l warn --without-web. Its settings are in the environment (running.py). It measures itself
from its first event to its `COUNT`th and ends then. Acks are the broker's all; at least once, as we are.
"""

import json
import os
import time
from typing import Any

import faust

PARTITIONS = 8
COUNT = int(os.environ["COUNT"])
app: Any = faust.App(
    os.environ["GROUP"],
    broker="kafka://" + os.environ["BOOTSTRAP"],
    store="rocksdb://?driver=rocksdict",
    datadir=os.environ["DATA_DIR"],
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    topic_disable_leader=True,
    stream_wait_empty=False,
    broker_commit_every=1_000,
    broker_commit_interval=1.0,
    consumer_auto_offset_reset="earliest",
    producer_acks=-1,
    key_serializer="raw",
    value_serializer="raw",
)
RAW: Any = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
events = app.topic(os.environ["TOPIC_IN"], **RAW)
verdicts = app.topic(os.environ["TOPIC_OUT"], partitions=PARTITIONS, **RAW)
seen = app.Table("seen", partitions=PARTITIONS, key_type=bytes, value_type=bytes)
began: tuple[float, float] | None = None
done = 0


@app.agent(events)
async def admit(stream: Any) -> None:
    global began, done
    async for event in stream.events():
        if began is None:
            began = time.monotonic(), time.process_time()
        key, value = event.key, event.value
        if seen.get(key) is None:
            seen[key] = b"1"
            verdict = b"new"
        else:
            verdict = b"dup"
        await verdicts.send(key=key, value=verdict + value[:16])
        done += 1
        if done == COUNT:
            seconds, cpu_seconds = time.monotonic() - began[0], time.process_time() - began[1]
            result = json.dumps({"events": done, "seconds": seconds, "cpu_seconds": cpu_seconds})
            os.write(1, f"RESULT {result}\n".encode())  # Faust makes log lines of what is printed
            os._exit(0)


if __name__ == "__main__":
    app.main()
