"""HoVer-Net: segment nuclei in images without a segmentation, with TIAToolbox.

`segment` writes one GeoJSON file per patch of a source. `windows` converts patches to the network's
magnification and input size, and maps back to patches. `network` is the only module that needs
TIAToolbox, an extra (`pip install 'morefromless[nuclei]'`).
"""
