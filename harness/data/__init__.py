"""Stage 1: a card, a folder or a hub's data set becomes a Collection, read strictly and kept mapped on disk.

- `task`, `card`, `uncarded`         what a user types → Tasks: by a card, or without one
- `mteb_task`, `mteb_suites`         tasks by mteb's metadata, and its benchmarks as suites
- `layout`                          which files of a data set hold what
- `forms`                           ids that are there in another form
- `formats`, `judgements`, `rows`   strict readers, and the places that their errors name
- `dataset`                         files → the folder of a prepared collection
- `clusters`                        which queries share something
- `corpus`, `collection`            that folder, mapped into memory and checked
"""
