#!/bin/sh
# confluent-kafka 2.16.1 (librdkafka 2.16.0), AdminClient.list_offsets: where the broker does not answer within
# request_timeout, the partition's future does not fail. It has a result, whose offset is -1001 (OFFSET_INVALID): a
# caller that compares offsets takes a silent broker for an empty partition, or for one that was read to its end.
# Expected: an exception, as a time-out on the way to the partition's leader gives one (_TIMED_OUT).
#
# Seen, with librdkafka's own mock broker, which takes 1.5 s for each answer:
#   request_timeout 20 s: offset 0
#   request_timeout 1 s: offset -1001
# Ends 0 while that is so, 1 when it has changed, 2 when it could not be tried.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv" || exit 2
"$folder/venv/bin/pip" install --quiet confluent-kafka==2.16.1 || exit 2
"$folder/venv/bin/python" - <<'PROGRAM'
import sys

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

broker_of = {"bootstrap.servers": "none", "test.mock.num.brokers": 1, "test.mock.broker.rtt": 1500, "log_level": 0}
mock = Producer(broker_of)
broker = next(iter(mock.list_topics("topic", timeout=30).brokers.values()))
client = AdminClient({"bootstrap.servers": f"{broker.host}:{broker.port}", "log_level": 0})


def end(seconds):
    asked = client.list_offsets({TopicPartition("topic", 0): OffsetSpec.latest()}, request_timeout=seconds)
    return [future.result().offset for future in asked.values()][0]


print(f"request_timeout 20 s: offset {end(20)}")  # and the leader is known from here on
try:
    unanswered = end(1)
except KafkaException as error:
    print(f"request_timeout 1 s: {error}")
    sys.exit(1)
print(f"request_timeout 1 s: offset {unanswered}")
sys.exit(0 if unanswered == -1001 else 1)
PROGRAM
