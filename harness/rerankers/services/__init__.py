"""Rerankers that run elsewhere: what is sent to a provider, how, and what it costs.

- `providers`   each provider's request and answer, as data (`providers.yaml`, and the user's own)
- `scorer`      requests within a provider's limits, several at a time
- `transport`   JSON over HTTP with patience
- `cost`        what is billed, before and after
"""
