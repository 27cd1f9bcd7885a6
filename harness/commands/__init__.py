"""The command line: one file a verb. `cli` reads argv and calls one function; it alone prints."""
