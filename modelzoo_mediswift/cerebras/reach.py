"""The cluster's manager: does it answer, what does the client tell, and how does a failure read?"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import traceback
from collections.abc import Iterator

from modelzoo_mediswift.errors import UserError

CONNECT_SECONDS = 10
LONGEST_LINE = 1000
ANSWER_SECONDS = 20


def check_cluster_answers(
    mgmt_address: str | None, mgmt_namespace: str | None, credentials_path: str | None
) -> None:
    """Raises UserError where the manager does not answer within a minute.

    The client itself tries an address that refuses for half a minute, and waits for a manager
    that accepts but does not answer as long as it takes.
    """
    import grpc
    from cerebras.appliance.cluster.client import ClusterManagementClient
    from cerebras.appliance.pb.workflow.appliance.cluster_mgmt.cluster_pb2 import (
        GetServerConfigRequest,
    )

    client = ClusterManagementClient(
        server=mgmt_address, namespace=mgmt_namespace or "", crt_file=credentials_path
    )
    host, _, port = str(client.server).rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"CSX: --mgmt_address: expected HOST:PORT, got {client.server}")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise UserError(
            f"CSX: cannot connect to the cluster at {client.server}: {reason}"
        ) from None
    client.connect()
    try:
        client.stub.GetServerConfig(GetServerConfigRequest(), timeout=ANSWER_SECONDS)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise UserError(
                f"CSX: the cluster at {client.server} accepts connections, but its manager did "
                f"not answer for {ANSWER_SECONDS} s"
            ) from None
        if error.code() != grpc.StatusCode.UNIMPLEMENTED:  # releases before user authentication
            raise
    finally:
        client.channel.close()


@contextlib.contextmanager
def cluster_failures() -> Iterator[None]:
    """Turn what the Cerebras client raises when it talks to a cluster into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        modules = {
            str(frame.f_globals.get("__name__"))
            for frame, _ in traceback.walk_tb(error.__traceback__)
        }
        if not any(name.startswith("cerebras.appliance") for name in modules):
            raise
        raise UserError(f"CSX: the cluster: {in_one_line(error)}") from error


def in_one_line(error: BaseException) -> str:
    """What went wrong, without the frame that remote calls put around it."""
    text = _joined(_remote(error) or str(error)) or type(error).__name__
    cause = error.__cause__
    if cause is not None and (remote := _remote(cause)):
        text = f"{text} ({remote})"
    return text[:LONGEST_LINE]


def _joined(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _remote(error: BaseException) -> str:
    """Status and details of a failed remote call; empty for other errors."""
    grpc = sys.modules.get("grpc")  # nothing else raises such errors
    if grpc is None or not isinstance(error, grpc.RpcError):
        return ""
    code, details = error.code(), error.details()
    return f"{_joined(details or 'no details')} ({code.name.lower().replace('_', ' ')})"


class _OneLine(logging.Formatter):
    """The client logs whole tracebacks as it goes; what matters is raised at the end too."""

    def format(self, record: logging.LogRecord) -> str:
        return f"cluster: {_joined(record.getMessage())[:LONGEST_LINE]}"


def show_client_messages(level: str) -> None:
    """Print what the Cerebras client tells of jobs to standard error, a line each."""
    logger = logging.getLogger("cerebras")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
