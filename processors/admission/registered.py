"""Streams in a schema registry: `<topic>-value` has our schema, so that a direct producer's serializer finds it there.

Registering is a service to producers and tools; nothing waits for it. `SchemaIds` looks up the ids that other writers'
records name.
"""

import asyncio
import logging

from operations.logs import Sparse
from operations.schema_registry import RegistryAway, RegistryUnusable, SchemaIds, SchemaRegistry
from schemas.codec import EVENT

sparse = Sparse(logging.getLogger(__name__))
AGAIN_SECONDS = 5.0


class RegisteredStreams:
    def __init__(self, registry: SchemaRegistry) -> None:
        self.ids = SchemaIds(registry, EVENT)
        self._registry = registry
        self._one_at_a_time = asyncio.Lock()
        self._announcing: set[asyncio.Task[None]] = set()

    def announce(self, topic: str) -> None:
        """Registers the topic's subject, in the background and until the registry answers."""
        task = asyncio.get_running_loop().create_task(self._announce(topic))
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def _announce(self, topic: str) -> None:
        async with self._one_at_a_time:
            while True:
                try:
                    EVENT.also_read(await self._registry.register(topic, EVENT.schema))
                    return
                except RegistryAway:
                    await asyncio.sleep(AGAIN_SECONDS)
                except RegistryUnusable as error:
                    sparse.event("stream.unregistered", "refused", topic=topic, why=str(error))
                    return
