import sys

from nerf3d.cli import main

sys.exit(main())
