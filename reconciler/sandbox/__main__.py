"""`python -m reconciler.sandbox`: the sandbox's own process."""

from __future__ import annotations

import sys

from reconciler.sandbox.server import main

if __name__ == "__main__":
    sys.exit(main())
