"""What a group has decided already, told by the log alone: the newest record below its committed offsets."""

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from operations.kafka_clients import reader_config

ANSWER_SECONDS = 10.0


def newest_decided_ms(bootstrap: str, group: str, topics: Sequence[str], partition: int) -> int | None:
    """Append time of the newest record of these topics that `group` has committed; None when it has committed none.

    A record that retention has removed says nothing. Blocking; joins no group. Raises KafkaException when the broker
    does not answer: silence is not "none".
    """
    consumer = Consumer(reader_config(bootstrap, group) | {"enable.partition.eof": True})
    try:
        asked = [TopicPartition(topic, partition) for topic in topics]
        committed = [found for found in consumer.committed(asked, timeout=ANSWER_SECONDS) if found.offset > 0]
        times = [_time_of_last(consumer, found) for found in committed]
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
