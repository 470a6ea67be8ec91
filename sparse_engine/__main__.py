"""Command line as a module: ``python -m sparse_engine``."""

import sys

from sparse_engine.cli import main

sys.exit(main())
