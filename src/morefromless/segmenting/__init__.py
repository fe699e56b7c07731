"""Segmenting: nuclei of images that nobody has segmented, with HoVer-Net through TIAToolbox.

`segment` goes through a source and writes a GeoJSON file a patch; `windows` brings patches to the
network's magnification and size, and its maps back; `hovernet` is the only module that needs
TIAToolbox, an extra (`pip install 'morefromless[nuclei]'`).
"""
