"""``python -m asr``: the command ``loquela``."""

import sys

from asr.cli import main

sys.exit(main())
