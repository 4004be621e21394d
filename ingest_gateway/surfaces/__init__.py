"""One package for each public API: its routes, its models, its own error format. `shared/` is what two of them use.

The surfaces are peers: none imports another. The same file name has the same role in each of them, and in `shared/` it
is what the others build on:

| file | role |
|---|---|
| `app.py` | the aiohttp application: routes, what they share, the `Surface` |
| `errors.py` | the surface's error codes, and the only place that writes its error format |
| `forms.py`, `*_forms.py` | from a request's body to a command's payload, with all errors at once |
| `*_views.py` | from an entity to its JSON |
| `publish.py`, `publish_*.py` | the routes that publish events |
| `publishing.py` | how one event is published and what its answer shows |
| `commands.py` | from a request to a command that control has decided |
| `reads.py` | what a read waits for before it asks the read model |

Every other file is named after the resource whose routes it holds, or after the one idea in it.
"""
