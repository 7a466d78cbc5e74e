"""Runs for other programs, and other programs' logs as runs. Names are loaded on first use."""

from importlib import import_module

_EXPORTS = {
    "from_confusionflow": "importers",
    "from_csv": "importers",
    "from_numpy": "importers",
    "lightning_callback": "lightning",
    "read_tensorboard": "tensorboard",
    "to_dataframe": "frames",
    "to_netcdf": "frames",
    "usb_hook": "usb",
    "write_tensorboard": "tensorboard",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
