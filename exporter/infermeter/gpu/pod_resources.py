"""What the kubelet says that a pod was given: its pod-resources socket, asked over gRPC.

The messages hold the fields that are read here, and are built at import in a descriptor pool of their own.

Source: kubernetes/kubelet, pkg/apis/podresources/v1/api.proto.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from infermeter.errors import GpuUnavailable

SOCKET: Final = "var/lib/kubelet/pod-resources/kubelet.sock"
METHOD: Final = "/v1.PodResourcesLister/List"

TIMEOUT_SECONDS: Final = 1.5
"""Less than gpu.timeout is unless it was set: a kubelet that hangs is told as such, and not as a driver that does."""
MOST_BYTES: Final = 16 * 2**20
"""Of one answer: it tells of all pods of the node, of which there are a few hundred with some hundred bytes each."""

MOST_DEVICES: Final = 1024
"""Of one pod that are looked at."""

_RESOURCE: Final = re.compile(r"nvidia\.com/(gpu(\.shared)?|mig-.+)|amd\.com/gpu.*")
"""What the device plugins of NVIDIA and AMD call what they give. Source: NVIDIA/k8s-device-plugin, README; ROCm/k8s-device-plugin, docs."""

_CLAIMED: Final = re.compile(r"(k8s\.)?(gpu\.)?(nvidia|amd)\.com/.+")
"""Names of devices that a claim was given (CDI: vendor/class=device). Source: CDI specification; NVIDIA/k8s-dra-driver-gpu, cdi.go."""

Message: TypeAlias = Any
"""A message class of a run-time schema, or an instance of one: nothing static can be said about its fields."""

_PACKAGE: Final = "infermeter.podresources"
_SCHEMA: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "CDIDevice": {"name": (1, "string")},
    "ClaimResource": {"cdi_devices": (1, "CDIDevice"), "driver_name": (2, "string"), "device_name": (4, "string")},
    "DynamicResource": {"claim_resources": (4, "ClaimResource")},
    "ContainerDevices": {"resource_name": (1, "string"), "device_ids": (2, "strings")},
    "ContainerResources": {"devices": (2, "ContainerDevices"), "dynamic_resources": (5, "DynamicResource")},
    "PodResources": {"name": (1, "string"), "namespace": (2, "string"), "containers": (3, "ContainerResources")},
    "ListPodResourcesResponse": {"pod_resources": (1, "PodResources")},
}


def _answer_class() -> Message:
    """The class of the answer; every message in a message is repeated."""
    file = FileDescriptorProto(name="infermeter/podresources.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            told = message.field.add(name=field, number=number, label=FieldDescriptorProto.LABEL_REPEATED)
            if kind == "string":
                told.label = FieldDescriptorProto.LABEL_OPTIONAL
            if kind in {"string", "strings"}:
                told.type = FieldDescriptorProto.TYPE_STRING
            else:
                told.type = FieldDescriptorProto.TYPE_MESSAGE
                told.type_name = f".{_PACKAGE}.{kind}"
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ListPodResourcesResponse"))


_ANSWER: Final[Message] = _answer_class()


def pod_devices(
    name: str, namespace: str | None, *, root: Path = Path("/"), timeout_seconds: float = TIMEOUT_SECONDS
) -> frozenset[str] | None:
    """What a pod's containers were given, all together: ids as the device plugin or the claim's CDI names tell them. May block.

    None: no socket is mounted. Empty: the pod was given no GPU. `namespace` None: the only pod of that name. An id is the device's UUID
    as a rule; what it is beyond that, only who made it knows. Raises: GpuUnavailable (no permission, no answer, garbled, no such pod).
    """
    socket = root / SOCKET
    if not _is_mounted(socket):
        return None
    pods = [
        pod
        for pod in _asked(socket, timeout_seconds).pod_resources
        if pod.name == name and (namespace is None or pod.namespace == namespace)
    ]
    if not pods:
        of = f" in {namespace}" if namespace else ""
        raise GpuUnavailable(f"the kubelet knows no pod {name}{of}: POD_NAME and POD_NAMESPACE name it")
    if len(pods) > 1:
        raise GpuUnavailable(f"the kubelet knows {len(pods)} pods {name}: POD_NAMESPACE tells which")
    return frozenset(islice(_devices(pods[0]), MOST_DEVICES))


def _is_mounted(socket: Path) -> bool:
    try:
        mode = socket.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise GpuUnavailable(f"{socket}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise GpuUnavailable(f"{socket} is no socket")
    if not os.access(socket, os.W_OK, effective_ids=True):
        raise GpuUnavailable(f"{socket}: no permission; the kubelet lets root alone ask")
    return True


def _asked(socket: Path, timeout_seconds: float) -> Message:
    options = (
        ("grpc.max_receive_message_length", MOST_BYTES),
        ("grpc.default_authority", "localhost"),  # else it is the path, which isn't the name of a host
        ("grpc.enable_http_proxy", 0),
    )
    with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
        list_pods = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
        try:
            body = list_pods(b"", timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise GpuUnavailable(f"the kubelet doesn't answer on {socket}: {error.code().name}") from error
    try:
        return _ANSWER.FromString(body)
    except DecodeError as error:
        raise GpuUnavailable(f"the kubelet's answer on {socket} is garbled") from error


def _devices(pod: Message) -> Iterator[str]:
    for container in pod.containers:
        for devices in container.devices:
            if _RESOURCE.fullmatch(devices.resource_name):
                yield from devices.device_ids
        for claim in container.dynamic_resources:
            for resource in claim.claim_resources:
                names = [device.name for device in resource.cdi_devices] or [f"{resource.driver_name}/device={resource.device_name}"]
                yield from (name for name in names if _CLAIMED.fullmatch(name))
