"""Whether this run has a sanitizer preloaded, and what cannot run then."""

import os

SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
# Preloaded, it also stops in programs that are not ours (ip, unshare, nft) and in processes that gave up their rights.
FOREIGN = "a preloaded sanitizer reports leaks of other programs and cannot work without rights"
