"""The command: see :mod:`bench.tables`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.tables.pages import out_of_date, pages, with_tables, write_stamps
from bench.tables.plot import draw_quality
from bench.tables.research import TableError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, 1 where pages are out of date, 2 after a one-line error."""
    options = argparse.ArgumentParser("python -m bench.tables", description="Tables of the documentation.")
    options.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 where a page is out of date"
    )
    check = options.parse_args(arguments).check
    try:
        if not check:
            write_stamps()
            for path in pages():
                text = path.read_text(encoding="utf-8")
                if (written := with_tables(text)) != text:
                    path.write_text(written, encoding="utf-8")
            if "docs/images/quality.svg" in out_of_date():
                draw_quality()
        stale = out_of_date()
    except TableError as error:
        print(f"bench.tables: {error}", file=sys.stderr)
        return 2
    for name in stale:
        print(f"{name} is out of date: run python -m bench.tables", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
