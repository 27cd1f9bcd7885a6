"""The Python interface: what a notebook or a training loop calls, and what the verbs of the command line call too.

`asking` turns what is asked for, in plain words, into a Request; nothing here prints.
"""
