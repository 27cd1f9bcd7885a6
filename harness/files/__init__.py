"""What lies on disk whatever it means: the cache, digests, the hub, bundles, YAML.

- `cache`       where the cache is, and how files get into it whole
- `units`       what the cache holds, unit by unit, and removing them
- `digest`      what every key is made of
- `packed`      the bytes of a file, whatever packs it
- `hub`         files and commits of the Hugging Face hub
- `bundle`      a folder with all that a run needs without network
- `yaml_file`   YAML that a person wrote, read strictly
"""
