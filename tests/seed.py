"""The seed of what is drawn at random in tests of threads: another one, another order of events."""

import os

SEED = int(os.environ.get("DELTARING_SEED", "0"))
