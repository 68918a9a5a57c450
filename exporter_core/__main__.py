"""``python -m exporter_core`` is the command ``exporter-core``."""

from __future__ import annotations

import sys

from exporter_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
