"""What every Atlas process runs on: settings, logs, the operations port, Kafka clients, the reader of `control`."""
