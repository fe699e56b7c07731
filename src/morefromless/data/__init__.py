"""Patches on disk: the store, its splits, images, nuclei and outlines.

`store` reads what `morefromless.ingest` wrote; `splits` assigns patches to train and test; `images`
reads image files unchanged.
"""
