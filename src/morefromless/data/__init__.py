"""Patches on disk: the store, its splits, and how files are written here.

`store` reads what `morefromless.ingest` wrote; `splits` says which patches stand in train and which
in test; `images` reads image files as they are; `atomic` writes files whole or not at all.
"""
