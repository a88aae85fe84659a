"""The execute job of the stand-in: it receives weights, runs the data workers' code, and answers.

It trains nothing. Weights come back as they were sent; each float that a step reports is the mean
of the step's labels, so that a test can tell which batch the worker read.
"""

from __future__ import annotations

import math
import queue
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import stand_in
from cerebras.appliance.appliance_client import fw_user_deserialize
from cerebras.appliance.data.conversions import np_dtype_from_rtfx_dtype
from cerebras.appliance.pb.framework import appliance_service_pb2 as app
from cerebras.appliance.pb.ws.common_pb2 import WS_RT_SUCCESS
from cerebras.appliance.pb.ws.rtfx_pb2 import RtFxProto

STATE = re.compile(r'%arg\d+: tensor<([\dx]*?)x?[a-z]+\d+> \{[^}]*?tf\.resource_name = "([^"]*)"')


def _done(response: str) -> Any:
    """A call that is only acknowledged."""
    return lambda self, request, context: getattr(app, response)(code=WS_RT_SUCCESS)


def as_array(value: RtFxProto) -> np.ndarray:
    """Booleans travel in two bytes each."""
    dtype = np.dtype(np_dtype_from_rtfx_dtype(value.dtype))
    stored = np.int16 if dtype.kind == "b" else dtype
    array = np.frombuffer(value.tensor.data, stored)
    return array.astype(dtype).reshape(value.tensor.shape)


class Runtime(stand_in.Coordinator):
    """A compile job and an execute job in one."""

    UnaryInit = _done("InitResponse")
    UnarySync = _done("SyncResponse")
    UnaryStartStreaming = _done("StartStreamingResponse")
    UnaryCheckCompileCompatibility = _done("CheckCompileCompatibilityResponse")
    UnaryDeleteFromPTR = _done("DeleteFromPTRResponse")
    UnaryCarryOverFromPTR = _done("CarryOverFromPTRResponse")
    UnaryGetCMDStateIds = _done("GetCMDStateIdsResponse")
    UnaryDataCheckpoint = _done("DataCheckpointResponse")

    def __init__(self) -> None:
        super().__init__()
        self.shapes: dict[str, list[int]] = {}  # of the state in the last program
        self.received: dict[str, RtFxProto] = {}  # state as it was sent last
        self.kept: dict[int, RtFxProto] = {}  # from one session to the next
        self.ingested: queue.Queue[str] = queue.Queue()
        self.batches: list[dict[str, Any]] = []  # of the running session

    def UnaryCompile(self, request: Any, context: Any) -> Any:
        self.shapes = {
            name: [int(size) for size in shape.split("x") if size]
            for shape, name in STATE.findall(request.cirh_content)
        }
        return super().UnaryCompile(request, context)

    def UnaryLoad(self, request: Any, context: Any) -> Any:
        self.idle.clear()
        return app.LoadResponse(code=WS_RT_SUCCESS)

    def UnaryFinalize(self, request: Any, context: Any) -> Any:
        self.idle.set()
        return app.FinalizeResponse(code=WS_RT_SUCCESS)

    def UnaryRun(self, request: Any, context: Any) -> Any:
        """What the data workers would do: build the loader from its recipe and read."""
        build = fw_user_deserialize(request.dataloader.builder)
        arguments = fw_user_deserialize(request.dataloader.builder_inputs)
        self.batches = list(build(*arguments[0], **arguments[1]))
        return app.RunResponse(code=WS_RT_SUCCESS)

    def UnarySendCheck(self, request: Any, context: Any) -> Any:
        """The state that the program has. A mask and its weights could also be one group."""
        groups = [app.SendCheckGroup(tensor_names=[name]) for name in self.shapes]
        return app.SendCheckResponse(code=WS_RT_SUCCESS, tensor_groups=groups)

    def SendInputBidirStream(self, request_iterator: Any, context: Any) -> Iterator[Any]:
        for request in request_iterator:
            self.received[request.tensor_name] = request.rtfx_proto
            yield app.SendInputResponse(code=WS_RT_SUCCESS)

    def StartWeightIngestion(self, request: Any, context: Any) -> Iterator[Any]:
        """Announces tensors that are made in place; tells when each has come."""
        yield app.StartWeightIngestionResponse(code=WS_RT_SUCCESS)
        for _ in request.tensor_id_shard_ids:
            self.ingested.get(timeout=10)
            yield app.StartWeightIngestionResponse(code=WS_RT_SUCCESS)

    def UnarySendDeferredInput(self, request: Any, context: Any) -> Any:
        for tensor in request.tensors:
            value = RtFxProto(dtype=tensor.dtype)
            value.scalar.data = tensor.scalar_broadcast_tensor.value.scalar.data
            self.received[tensor.tensor_name] = value
            self.ingested.put(tensor.tensor_name)
        return app.SendDeferredInputResponse(code=WS_RT_SUCCESS)

    def GetOutputStream(self, request: Any, context: Any) -> Iterator[Any]:
        name = request.tensor_name
        if name in self.received:
            value = self.whole(name)
        else:
            labels = self.batches[request.iteration]["labels"].numpy()
            value = RtFxProto(dtype=RtFxProto.T_F32)
            value.tensor.data = np.float32(labels.mean()).tobytes()
        yield app.GetOutputResponse(code=WS_RT_SUCCESS, rtfx_proto=value)

    def UnaryMoveToPTR(self, request: Any, context: Any) -> Any:
        self.kept[request.ptid] = self.whole(request.tensor_name)
        return app.MoveToPTRResponse(code=WS_RT_SUCCESS)

    def GetFromPTRStream(self, request: Any, context: Any) -> Iterator[Any]:
        yield app.GetOutputResponse(code=WS_RT_SUCCESS, rtfx_proto=self.kept[request.ptid])

    def whole(self, name: str) -> RtFxProto:
        """A tensor as it is fetched: one that was sent as a single number is written out."""
        value = self.received[name]
        if value.WhichOneof("contents") == "tensor":
            return value
        whole = RtFxProto(dtype=value.dtype)
        whole.tensor.shape.extend(self.shapes[name])
        whole.tensor.data = value.scalar.data * math.prod(self.shapes[name])
        return whole
