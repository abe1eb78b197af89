"""The one error of the command line.

Failure           nothing was done; the text says what to do about it
└── RpcFailure    the service, or the way to it, said no (usageflow.cli.rpc_errors)
"""

from __future__ import annotations


class Failure(Exception):
    """Ends the command with exit code 1 and this text on stderr, without a traceback."""
