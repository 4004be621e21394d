"""The headers of a Kafka message, whatever its producer wrote."""

from operator import methodcaller

from confluent_kafka import Message

from schemas.log_records import Headers

_ask_for_headers = methodcaller("headers")


def headers_of(message: Message) -> Headers:
    """A header name that is not UTF-8 makes confluent_kafka set an exception and return a list with a NULL in it: who
    looks at that ends the process. `methodcaller` always notices (SystemError); a plain call, once Python has
    specialized it, does not, and the exception comes up elsewhere. Such a record counts as one without headers (K8).
    """
    try:
        headers = _ask_for_headers(message)
    except (SystemError, UnicodeError):
        return ()
    return headers or ()
