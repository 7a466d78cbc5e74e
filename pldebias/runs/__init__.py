"""Runs on disk: `Recorder` writes one, `open_run` reads one, `catalogue` lists them.

`Recorder` needs torch and is loaded on first use; reading needs numpy alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
