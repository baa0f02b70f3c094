"""``python -m st``: the command ``loquela``."""

import sys

from st.cli import main

sys.exit(main())
