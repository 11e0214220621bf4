"""The one exception a user is meant to see.

The command line prints its message as a single sentence and exits with status 2; every other exception is a
defect and keeps its traceback.
"""


class TcmaxError(Exception):
    """Bad input: one clear sentence that names the file, key or run to look at."""
