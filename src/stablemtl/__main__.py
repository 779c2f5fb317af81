"""``python -m stablemtl`` is the command ``stablemtl``."""

import sys

from stablemtl.cli import main

if __name__ == "__main__":
    sys.exit(main())
