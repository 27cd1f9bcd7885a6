"""Stage 1: a card, a folder or a hub's data set becomes a Collection, read strictly and kept mapped on disk.

- `task`, `uncarded`, `mteb_task`   what a user types → Tasks: by a card, without one, by mteb's metadata
- `layout`                          which files of a data set hold what
- `forms`                           ids that are there in another form
- `formats`, `judgements`, `rows`   strict readers, and the places that their errors name
- `dataset`                         files → the folder of a prepared collection
- `clusters`                        which queries share something
- `corpus`, `collection`            that folder, mapped into memory and checked
"""
