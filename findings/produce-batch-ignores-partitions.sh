#!/bin/sh
# confluent-kafka 2.16.1 (librdkafka 2.16.0): `Producer.produce_batch(topic, messages)` takes messages as dicts. A member
# `partition` of such a dict is ignored without an error: the partitioner chooses. The argument `partition` of the call
# is respected, so a batch can go to one partition, but not each message to its own.
# Seen: 40 messages for partition 3 of 4 are spread over several partitions; with the argument all 40 are on 3.
# Runs on librdkafka's own mock cluster; no broker is needed. Ends 0 while it is so, else 1.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "confluent-kafka==2.16.1"
"$work/venv/bin/python" - <<'PYTHON'
from confluent_kafka import Producer

producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
partitions = len(producer.list_topics("orders", timeout=10).topics["orders"].partitions)


def partitions_of(messages, **arguments):
    reported = []
    for message in messages:
        message["callback"] = lambda error, record: reported.append((error, record.partition()))
    queued = producer.produce_batch("orders", messages, **arguments)
    producer.flush(10)
    assert queued == len(reported) == len(messages) and not any(error for error, _ in reported), reported
    return {partition for _, partition in reported}


named = partitions_of([{"value": b"x", "key": b"%d" % n, "partition": 3} for n in range(40)])
given = partitions_of([{"value": b"x", "key": b"%d" % n} for n in range(40)], partition=3)
print(f"{partitions} partitions; named in each message: {sorted(named)}; as the argument: {sorted(given)}")
raise SystemExit(0 if len(named) > 1 and given == {3} else 1)
PYTHON
