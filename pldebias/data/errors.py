"""The one error class of this package's data side."""


class DataError(ValueError):
    """Bad data or an impossible split; the message says what was given, what is allowed and what to do."""
