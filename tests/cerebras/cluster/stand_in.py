"""A cluster for the tests: manager, volumes and coordinator on one loopback port.

Made from the service descriptions that `cerebras-appliance` ships, and from what its client asks
for. It compiles nothing: it keeps every request and answers as a cluster would. A fault is a
subclass that answers otherwise.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
from cerebras.appliance._version import __githash__, __version__
from cerebras.appliance.pb.framework import appliance_service_pb2 as app
from cerebras.appliance.pb.framework.appliance_service_pb2_grpc import (
    ApplianceServicer,
    add_ApplianceServicer_to_server,
)
from cerebras.appliance.pb.workflow.appliance.cluster_mgmt import cluster_pb2 as mgmt
from cerebras.appliance.pb.workflow.appliance.cluster_mgmt.cluster_pb2_grpc import (
    ClusterManagementServicer,
    add_ClusterManagementServicer_to_server,
)
from cerebras.appliance.pb.workflow.appliance.cluster_mgmt.csctl import api_pb2
from cerebras.appliance.pb.workflow.appliance.cluster_mgmt.csctl.api_pb2_grpc import (
    CsCtlV1Servicer,
    add_CsCtlV1Servicer_to_server,
)
from cerebras.appliance.pb.workflow.appliance.cluster_mgmt.csctl.v1.resources_pb2 import VolumeList
from cerebras.appliance.pb.workflow.appliance.common.common_config_pb2 import (
    ClusterDetails,
    JobMode,
)
from cerebras.appliance.pb.ws.common_pb2 import (
    WS_RT_MONITOR_CLEAN,
    WS_RT_SUCCESS,
    ClockSyncResponse,
    PingResponse,
)

SUCCEEDED = mgmt.JOB_STATUS_SUCCEEDED
TASK = ClusterDetails.TaskInfo.TaskType
LARGEST_MESSAGE = 2**31 - 1024
RELEASE = f"{__version__}+{__githash__}"
COMPILE_DIR = "/cluster/cached_compile"


class Manager(ClusterManagementServicer):
    """What starts, watches and ends jobs. Without semantic versions it is asked for its release,
    and tells the state of a job when polled; with them, in answer to heartbeats."""

    release = RELEASE
    semantic_version = ""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def GetServerConfig(self, request: Any, context: Any) -> Any:
        return mgmt.GetServerConfigResponse(
            cluster_server_semantic_version=self.semantic_version,
            job_operator_semantic_version=self.semantic_version,
        )

    def GetServerVersions(self, request: Any, context: Any) -> Any:
        names = (mgmt.COMPONENT_NAME_CLUSTER_SERVER, mgmt.COMPONENT_NAME_JOB_OPERATOR)
        return mgmt.GetServerVersionsResponse(
            versions=[mgmt.ComponentVersion(name=n, version=self.release) for n in names]
        )

    def IsMessageBrokerAvailable(self, request: Any, context: Any) -> Any:
        return mgmt.MessageBrokerAvailabilityCheckResponse(is_available=False)

    def InitImageBuildJob(self, request: Any, context: Any) -> Any:
        return mgmt.ImageBuildResponse(job_id="image-1", mount_user_venv=True)

    def InitCompileJob(self, request: Any, context: Any) -> Any:
        return mgmt.CompileJobResponse(
            job_id=self._start("compile"),
            workflow_id="workflow-1",
            log_path="/cluster/logs",
            compile_dir_absolute_path=f"{COMPILE_DIR}/{request.compile_dir_relative_path}",
        )

    def InitExecuteJob(self, request: Any, context: Any) -> Any:
        return mgmt.ExecuteJobResponse(
            job_id=self._start("execute"), workflow_id="workflow-1", log_path="/cluster/logs"
        )

    def _start(self, kind: str) -> str:
        self.jobs.append(f"{kind}-{len(self.jobs) + 1}")
        return self.jobs[-1]

    def PollIngressV2(self, request: Any, context: Any) -> Any:
        yield mgmt.GetIngressResponse(message="queueing: no system is free")
        yield mgmt.GetIngressResponse(
            message="job ingress ready",
            is_scheduled=True,
            is_ready=True,
            service_authority=f"{request.job_id}.cluster-server.cerebrassc.local",
        )

    def HeartbeatV2(self, request_iterator: Any, context: Any) -> Any:
        """Tells unasked, too: the client waits for an answer before it leaves."""
        job = self.jobs[-1]
        while context.is_active():
            yield mgmt.HeartbeatResponse(
                message="job ingress ready",
                is_scheduled=True,
                is_ready=True,
                service_authority=f"{job}.cluster-server.cerebrassc.local",
            )
            time.sleep(0.1)

    def GetJobEvents(self, request: Any, context: Any) -> Any:
        return mgmt.GetJobEventsResponse()

    def GetJobMeta(self, request: Any, context: Any) -> Any:
        return mgmt.GetJobMetaResponse(job_mode=JobMode.COMPILE)

    def GetJob(self, request: Any, context: Any) -> Any:
        """The client asks when a job failed."""
        return mgmt.GetJobResponse(status=mgmt.JOB_STATUS_FAILED, message="a pod was lost")

    def FinalizeCompileJob(self, request: Any, context: Any) -> Any:
        return mgmt.CompileResultResponse()

    def CancelJobV2(self, request: Any, context: Any) -> Any:
        return mgmt.CancelJobResponse()


class Volumes(CsCtlV1Servicer):
    """The folders that the cluster sees too: those of the code, and the Python environment."""

    def __init__(self, folders: list[str]) -> None:
        self.folders = folders

    def Get(self, request: Any, context: Any) -> Any:
        volumes = VolumeList()
        if request.type == "volumes":
            for folder in self.folders:
                volumes.items.add().host_path.container_path = folder
            nfs = volumes.items.add().nfs
            nfs.server, nfs.server_path, nfs.container_path = "nfs", sys.prefix, sys.prefix
        return api_pb2.GetResponse(raw=volumes.SerializeToString())


class Coordinator(ApplianceServicer):
    """What a compile job and the head of an execute job answer."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.idle = threading.Event()  # no session runs

    def UnaryClockSync(self, request: Any, context: Any) -> Any:
        return ClockSyncResponse(code=WS_RT_SUCCESS)

    def UnaryStart(self, request: Any, context: Any) -> Any:
        details = app.StartResponse.VersionDetails(version=__version__, githash=__githash__)
        return app.StartResponse(code=WS_RT_SUCCESS, version_info=details)

    def UnaryMsgQueue(self, request: Any, context: Any) -> Any:
        self.stopped.wait(min(request.timeout_seconds, 1))
        return app.MsgQueueResponse()

    def UnaryCompile(self, request: Any, context: Any) -> Any:
        """Takes whatever comes; the execute job is to have a coordinator and the systems."""
        compiled = app.CompileResponse(cache_compile_dir=f"{request.compile_dir}/cs_0123456789")
        tasks = compiled.cluster_details.tasks
        tasks.add(task_type=TASK.CRD).task_map.add()
        systems = tasks.add(task_type=TASK.WSE)
        for number in range(request.num_csx):
            systems.task_map.add().task_id.wse_id = number
        return compiled

    def UnaryDone(self, request: Any, context: Any) -> Any:
        return app.DoneResponse(code=WS_RT_SUCCESS)

    def UnaryPing(self, request: Any, context: Any) -> Any:
        return PingResponse(code=WS_RT_SUCCESS)

    def UnaryMonitorError(self, request: Any, context: Any) -> Any:
        """Held until there is an error to tell of, the session ends, or the time is over."""
        self.idle.wait(request.poll_seconds)
        return app.MonitorErrorResponse(code=WS_RT_MONITOR_CLEAN)


class Cluster:
    """The three behind one port of localhost, for as long as the `with` block runs."""

    def __init__(
        self,
        manager: Manager | None = None,
        coordinator: Coordinator | None = None,
        folders: list[str] | None = None,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.manager = manager or Manager()
        self.coordinator = coordinator or Coordinator()
        self.requests: dict[str, list[Any]] = defaultdict(list)  # by the name of the call
        self.metadata: dict[str, str] = {}  # of the first call to the manager
        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE)]
        self.server = grpc.server(
            ThreadPoolExecutor(max_workers=32), interceptors=[_Recorder(self)], options=options
        )
        add_ClusterManagementServicer_to_server(self.manager, self.server)
        add_CsCtlV1Servicer_to_server(Volumes(folders or []), self.server)
        add_ApplianceServicer_to_server(self.coordinator, self.server)
        add_port = self.server.add_insecure_port
        if credentials is not None:
            add_port = partial(self.server.add_secure_port, server_credentials=credentials)
        self.address = f"localhost:{add_port('localhost:0')}"

    def __enter__(self) -> Cluster:
        self.server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.coordinator.stopped.set()
        self.coordinator.idle.set()
        self.server.stop(grace=None).wait()

    def one(self, call: str) -> Any:
        """The only request of this name."""
        (request,) = self.requests[call]
        return request


class _Recorder(grpc.ServerInterceptor):
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        if not self.cluster.metadata:
            self.cluster.metadata = dict(details.invocation_metadata)
        handler = continuation(details)
        kept = self.cluster.requests[details.method.rpartition("/")[2]]
        if handler is None or handler.request_streaming:
            return handler

        def keep(behaviour: Any) -> Any:
            def answer(request: Any, context: Any) -> Any:
                kept.append(request)
                return behaviour(request, context)

            return answer

        if handler.response_streaming:
            return handler._replace(unary_stream=keep(handler.unary_stream))
        return handler._replace(unary_unary=keep(handler.unary_unary))
