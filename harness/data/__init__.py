"""Stage 1: a card, a folder or a hub's data set becomes a Collection, read strictly and kept mapped on disk.

- `task`, `card`, `uncarded`         what a user types → Tasks: by a card, or without one
- `mteb_task`, `mteb_suites`         tasks by mteb's metadata, and its benchmarks as suites
- `irds`                            data sets of ir_datasets
- `listings`                        the files of a folder, an archive, a repository
- `layout`, `file_names`            which files of a data set hold what: by a card, by their names
- `containers`, `rows`              a file of any kind → its records, and the places that errors name
- `names`                           what columns are called: one table, and a card's own
- `forms`                           ids that are there in another form
- `formats`, `judgements`           strict readers of texts and lists, of judgements
- `trec`, `rankings`                TREC runs, and every other form of a ranking
- `dataset`                         files → the folder of a prepared collection
- `layers`                          judgements beside a data set's own
- `clusters`                        which queries share something
- `corpus`, `collection`            that folder, mapped into memory and checked
"""
