"""Patches on disk: the store, its splits, images, nuclei and outlines.

`store` reads what `morefromless.ingest` wrote; `splits` says which patches stand in train and which
in test; `images` reads image files as they are.
"""
