"""Reports: tables and figures that say what was found, and how sure one may be."""
