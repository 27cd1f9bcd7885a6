"""One file for each scoring family; each has `open_family(source, options, cache)`."""
