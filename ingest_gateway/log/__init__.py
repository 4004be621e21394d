"""All of the gateway that touches Kafka: appending, waiting for verdicts, commands, reading one record back."""
