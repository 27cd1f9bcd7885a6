"""What lies on disk whatever it means: the cache, digests, the hub, bundles, YAML."""
