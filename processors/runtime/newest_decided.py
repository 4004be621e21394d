"""When a group has last decided a record, as the log says: the newest record below the group's positions."""

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from operations.kafka_clients import reader_config

ANSWER_SECONDS = 10.0


def newest_decided_ms(
    bootstrap: str, group: str, topics: Sequence[str], partition: int, kept: Mapping[str, int]
) -> int | None:
    """Append time of the newest record of these topics that `group` has committed; None when it has committed none.
    `kept`: the positions of topics whose offsets Kafka may have forgotten.

    Records that retention has removed don't count. Blocking; joins no group. Raises KafkaException when the broker
    does not answer: silence is not "none".
    """
    consumer = Consumer(reader_config(bootstrap, group) | {"enable.partition.eof": True})
    try:
        asked = [TopicPartition(topic, partition) for topic in topics]
        committed = consumer.committed(asked, timeout=ANSWER_SECONDS)
        offsets = {one.topic: one.offset if one.offset >= 0 else kept.get(one.topic, 0) for one in committed}
        read_to = [TopicPartition(topic, partition, offset) for topic, offset in offsets.items() if offset > 0]
        times = [_time_of_last(consumer, found) for found in read_to]
    finally:
        consumer.close()
    return max((time for time in times if time is not None), default=None)


def _time_of_last(consumer: Consumer, committed: TopicPartition) -> int | None:
    """Compaction and transactions leave holes, so the newest of the last few offsets that has a record."""
    start = max(0, committed.offset - 100)
    consumer.assign([TopicPartition(committed.topic, committed.partition, start)])
    newest = None
    while True:
        message = consumer.poll(ANSWER_SECONDS)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{committed.topic} gave no answer"))
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if error is not None or (message.offset() or 0) >= committed.offset:
            return newest
        newest = message.timestamp()[1]
