"""`python -m cnnctl` is the same as `cnnctl`."""

import sys

from cnnctl.cli import main

sys.exit(main())
