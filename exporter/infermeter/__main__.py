"""`python -m infermeter`."""

import sys

from infermeter.cli import main

if __name__ == "__main__":
    sys.exit(main())
