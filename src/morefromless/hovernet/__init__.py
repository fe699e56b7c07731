"""HoVer-Net: nuclei of images that nobody has segmented, through TIAToolbox.

`segment` writes one GeoJSON file for each patch of a source. `windows` brings patches to the
network's magnification and size, and its maps back. `network` is the only module that needs
TIAToolbox, an extra (`pip install 'morefromless[nuclei]'`).
"""
