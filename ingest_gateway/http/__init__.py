"""HTTP as every surface needs it: framing, guards, bodies, errors. It imports no surface and knows neither Kafka nor
keys.
"""
