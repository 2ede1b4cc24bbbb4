"""Names every way ``bridge`` can fail, with the status a client sees and the code a shell sees.

The room knows nothing of sockets, files or dialects; ``proxy.server`` words a failure for a client
and ``cli`` words it for a shell, both from the attributes set here::

    BridgeError
    ├─ ConfigError                 the configuration cannot be used            exit 78
    ├─ UsageError                  the words on the command line make no sense exit 2
    ├─ LoginError
    │  ├─ KeyRequired              no key is found, or what is found is none   401, exit 150
    │  ├─ LoginRequired            no credential, or the refresh was refused   401, exit 150
    │  ├─ LoginDenied              the person said no
    │  └─ LoginExpired             nobody approved in time
    ├─ CredentialError
    │  ├─ CredentialUnreadable     corrupt, foreign or not ours to write       503
    │  └─ CredentialBusy           another process holds the lock too long     503, retry
    ├─ AuthorizationServerError    5xx, no connection, nonsense                503, retry
    │  └─ AnswerLost               it may have acted, and we do not know        503, retry
    ├─ UpstreamError
    │  ├─ UpstreamUnreachable      no connection, or it broke before the head  502, retry
    │  ├─ UpstreamTimeout          silence before the head                     504, retry
    │  └─ RedirectRefused          the upstream points to another host         502
    ├─ Refused                     guard, size or form of a request            4xx
    │  └─ Overloaded               the body budget is spent                    503, retry
    └─ ServiceError                the daemon cannot start, stop or be found   exit 1
       ├─ NotRunning                                                           exit 3
       └─ PortTaken                a stranger owns the port                    exit 4
"""

from __future__ import annotations


class BridgeError(Exception):
    """Any failure that ``bridge`` foresees; its text says what is wrong and what to do next.

    *status* is the HTTP status a client is answered with, *kind* the ``error.type`` in that
    answer, *exit_code* what a shell sees, *retry_after* the seconds after which trying again may
    help (``None``: trying again cannot help, and the client is told so).
    """

    status: int = 500
    kind: str = "api_error"
    exit_code: int = 1
    default_retry_after: float | None = None

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = self.default_retry_after if retry_after is None else retry_after


class ConfigError(BridgeError):
    """The configuration cannot be used; the text names file, line and key."""

    exit_code = 78


class UsageError(BridgeError):
    """The command line makes no sense."""

    exit_code = 2


class LoginError(BridgeError):
    """A login is missing or did not come about."""

    status = 401
    kind = "authentication_error"
    exit_code = 150


class KeyRequired(LoginError):
    """No place has a key for a provider, or what stands there is none."""


class LoginRequired(LoginError):
    """There is no credential, or the authorization server refused its refresh token."""


class LoginDenied(LoginError):
    """The person refused the login in the browser, or the server refused the device code."""

    exit_code = 1


class LoginExpired(LoginError):
    """Nobody approved the login before the device code expired."""

    exit_code = 1


class CredentialError(BridgeError):
    """The credential file cannot be used as it is."""

    status = 503
    kind = "api_error"


class CredentialUnreadable(CredentialError):
    """The credential file is corrupt, unreadable, or not ours to write."""


class CredentialBusy(CredentialError):
    """Another process has held the credential lock for too long."""

    kind = "overloaded_error"
    default_retry_after = 5.0


class AuthorizationServerError(BridgeError):
    """The authorization server is unwell and no usable token is left."""

    status = 503
    default_retry_after = 5.0


class AnswerLost(AuthorizationServerError):
    """A grant request went out and no usable answer came back: its token may have been spent.

    Do not send the same token again while the access token still lives; a stern server takes the
    repetition for theft and revokes the whole login.
    """


class UpstreamError(BridgeError):
    """The provider could not be asked."""

    status = 502


class UpstreamUnreachable(UpstreamError):
    """No connection to the provider, or it broke before an answer began."""

    default_retry_after = 1.0


class UpstreamTimeout(UpstreamError):
    """The provider took the request and never began to answer."""

    status = 504
    default_retry_after = 1.0


class RedirectRefused(UpstreamError):
    """The provider answered with a redirect to another host, where no credential may go."""


class Refused(BridgeError):
    """A request that the front door turns away.

    The status differs by reason (421 for a foreign Host, 403 for a stranger, 413 for size …), so
    it is given by whoever refuses.
    """

    status = 403
    kind = "permission_error"

    def __init__(
        self,
        message: str,
        *,
        status: int = 403,
        kind: str = "permission_error",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status
        self.kind = kind


class Overloaded(Refused):
    """More request bytes are in flight than the budget allows, for longer than one should wait."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message, status=503, kind="overloaded_error", retry_after=retry_after)


class ServiceError(BridgeError):
    """The daemon cannot start, stop or be found."""


class NotRunning(ServiceError):
    """No daemon of ours is running."""

    exit_code = 3


class PortTaken(ServiceError):
    """The port answers, but what answers is not ours."""

    exit_code = 4
