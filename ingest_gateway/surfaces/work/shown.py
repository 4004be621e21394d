"""An item as the read model has it: the bytes of the answer that made it, its version as ETag."""

import msgspec
from aiohttp import hdrs, web


class _Versioned(msgspec.Struct):
    version: int


_VERSION = msgspec.json.Decoder(_Versioned)


def shown(body: str | bytes, status: int = 200) -> web.Response:
    headers = {hdrs.ETAG: f'"{_VERSION.decode(body).version}"'}
    content = body.encode() if isinstance(body, str) else body
    return web.Response(body=content, status=status, content_type="application/json", headers=headers)
