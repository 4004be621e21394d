#!/bin/sh
# confluent-kafka 2.16.1 (librdkafka 2.16.0): AdminClient.elect_leaders documents `request_timeout` and
# `operation_timeout`. Either of them, with a valid number of seconds, raises
#   SystemError: more argument specifiers than keyword list entries (remaining format:'f')
# before anything is sent; both together raise
#   TypeError: function takes at most 4 arguments (5 given)
# Without them the call works. No broker is needed to see it. Ends 0 while it is so, else 1.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "confluent-kafka==2.16.1"
"$work/venv/bin/python" - <<'PYTHON'
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient

client = AdminClient({"bootstrap.servers": "127.0.0.1:9", "log_level": 0})
partitions = [TopicPartition("orders", 0)]


def raised(**timeouts: float) -> str:
    try:
        client.elect_leaders(ElectionType.PREFERRED, partitions, **timeouts)
    except BaseException as error:
        return type(error).__name__
    return "nothing"


seen = {
    "none": raised(),
    "request_timeout": raised(request_timeout=10),
    "operation_timeout": raised(operation_timeout=10),
    "both": raised(request_timeout=10, operation_timeout=10),
}
print(seen)
as_reported = {"none": "nothing", "request_timeout": "SystemError", "operation_timeout": "SystemError", "both": "TypeError"}
raise SystemExit(0 if seen == as_reported else 1)
PYTHON
