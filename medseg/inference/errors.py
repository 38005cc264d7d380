"""The ways in which a command can fail, each with its process exit code."""

from __future__ import annotations

__all__ = ["CommandError", "ConfigurationError", "IntegrityError", "Interrupted", "ResourceError"]


class CommandError(Exception):
    """A failure at run time whose message is one line for people: what was found, what was expected, the fix.

    Attributes:
        exit_code: status with which the process ends.
    """

    exit_code = 1


class ConfigurationError(CommandError):
    """The command line, the bundle or its configuration is wrong; nothing was run."""

    exit_code = 2


class IntegrityError(CommandError):
    """The case's data cannot be trusted: unreadable, ambiguous, or without a usable geometry."""

    exit_code = 3


class ResourceError(CommandError):
    """Memory, disk or device ran out."""

    exit_code = 5


class Interrupted(KeyboardInterrupt):
    """The process was asked to stop (SIGTERM, exit code 75); running the same command again is safe.

    It is no ``Exception``, so that libraries which catch those cannot swallow it.
    """
