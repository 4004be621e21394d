"""Makes Faust fast and safe: whole fetches instead of records, an outbox, durable tables, one shape for all processes.

Faust does the group membership, rebalances and commits. An agent's author reads agent.py only. To understand the rest,
read in this order: batches, fetcher, transport, outbox, work, table, handling, runtime.

Names of Faust and aiokafka that are private, or public but not documented, and are used here all the same. A test
(tests/unit/test_runtime_private_names.py) checks that the installed versions have them, and that none is missing here:
read their code again before you raise faust-streaming 0.15.3 or aiokafka 0.14.0.

| class | name | why |
|---|---|---|
| faust.transport.conductor.Conductor | _tp_to_callback | topics outside the subscription are handed to their agents |
| faust.transport.conductor.Conductor | _build_handler | the same |
| faust.transport.conductor.Conductor | _topic_name_index | the same |
| faust.transport.consumer.ThreadDelegateConsumer | _new_consumer_thread | our thread instead of Faust's |
| faust.transport.consumer.ThreadDelegateConsumer | _thread | the membership's thread, for rejoining and commits |
| faust.transport.consumer.ThreadDelegateConsumer | _getmany | batches come from our fetcher |
| faust.transport.consumer.Consumer | _add_gap | offsets without records need no bookkeeping |
| faust.transport.consumer.Consumer | _read_offset | forgotten when partitions are given up |
| faust.transport.consumer.Consumer | _unacked_messages | acks decide nothing |
| faust.tables.manager.TableManager | _update_channels | what is left of its start without its pause |
| faust.transport.drivers.aiokafka.AIOKafkaConsumerThread | _create_worker_consumer | to change its settings |
| faust.transport.drivers.aiokafka.AIOKafkaConsumerThread | _ensure_consumer | to reach the coordinator |
| aiokafka.AIOKafkaConsumer | _coordinator | heartbeats and commits are ours |
| aiokafka.AIOKafkaConsumer | _partition_assignment_strategy | our assignor |
| aiokafka.AIOKafkaConsumer | _max_poll_interval_ms | it is never polled |
| aiokafka.AIOKafkaConsumer | _client | a join may take longer than any other request |
| aiokafka.client.AIOKafkaClient | _request_timeout_ms | the same |
| aiokafka.consumer.group_coordinator.GroupCoordinator | _do_heartbeat | when it was sent; what an odd answer does |
| aiokafka.consumer.group_coordinator.GroupCoordinator | _push_error_to_user | would wait for a poll |
| aiokafka.consumer.group_coordinator.GroupCoordinator | _coordination_task | whether it ended for good |
| aiokafka.consumer.group_coordinator.GroupCoordinator | _heartbeat_task | one that failed is started again |
| aiokafka.consumer.group_coordinator.GroupCoordinator | _commit_refresh_task | the same |
| aiokafka.consumer.group_coordinator.GroupCoordinator | _commit_lock | commits outside the subscription |
| aiokafka.consumer.group_coordinator.GroupCoordinator | _do_commit_offsets | the same |
| aiokafka.consumer.group_coordinator.GroupCoordinator | fetch_committed_offsets | all partitions in one request |
| aiokafka.consumer.group_coordinator.GroupCoordinator | coordinator_dead | when the coordinator was lost |
| aiokafka.consumer.group_coordinator.GroupCoordinator | coordinator_id | whether there is one |
| aiokafka.consumer.group_coordinator.GroupCoordinator | member_id | whether the group knows this member |
| aiokafka.consumer.group_coordinator.GroupCoordinator | request_rejoin | an assignment that was given up |
"""
