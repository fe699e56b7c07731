"""Write the pages of the API reference: one per public module, from its docstrings.

mkdocs runs this file (plugin gen-files) each time it builds the site.
"""

from pathlib import Path

import mkdocs_gen_files
from mkdocs_gen_files.nav import Nav

SOURCE = Path(__file__).parents[1] / "src"

nav = Nav()  # type: ignore[no-untyped-call]
for path in sorted(SOURCE.rglob("*.py")):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    if any(part.startswith("_") for part in parts):
        continue
    page = Path("api", *parts[1:], "index.md") if path.stem == "__init__" else None
    page = page or Path("api", *parts[1:]).with_suffix(".md")
    nav[parts] = page.relative_to("api").as_posix()
    with mkdocs_gen_files.open(page, "w") as file:
        file.write(f"::: {'.'.join(parts)}\n")
with mkdocs_gen_files.open("api/SUMMARY.md", "w") as file:
    file.writelines(nav.build_literate_nav())
