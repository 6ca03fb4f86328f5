"""The kubelet's pod-resources socket: a real gRPC server on a real socket, whose answers are encoded as the published proto says."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest

from infermeter.config import Gpu
from infermeter.errors import GpuUnavailable
from infermeter.gpu.pod_resources import METHOD, MOST_BYTES, MOST_DEVICES, SOCKET, TIMEOUT_SECONDS, pod_devices

A, B = "GPU-8dcd427f-483b-b48f-d7e5-75fb19a52b76", "GPU-6b18d2ca-0d5c-4b3e-b6fd-6ac80ab5cd8b"
MIG = "MIG-1b0a4a3c-9bcd-5dd1-8c30-6f1b4ef1a53a"


NOBODY = 65_534


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that others may enter, with a short name: a socket's path has at most 107 bytes."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def field(number: int, content: bytes | str | int) -> bytes:
    """One field on the wire: a length and its bytes, or a varint below 128."""
    if isinstance(content, int):
        return bytes((number << 3, content))
    content = content.encode() if isinstance(content, str) else content
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes((low | 0x80,)) + varint(high) if high else bytes((low,))


def given(resource: str, *ids: str) -> bytes:
    """A container with devices of a device plugin: api.proto, ContainerResources 2, ContainerDevices 1, 2 and 3 (topology)."""
    topology = field(3, field(1, field(1, 1)))
    return field(1, "main") + field(2, field(1, resource) + b"".join(field(2, one) for one in ids) + topology) + field(3, 7)


def claimed(driver: str, device: str, *names: str) -> bytes:
    """A container with a claim: api.proto, ContainerResources 5, DynamicResource 2, 3 and 4, ClaimResource 1 to 4."""
    cdi = b"".join(field(1, field(1, name)) for name in names)
    resource = cdi + field(2, driver) + field(3, "node-1") + field(4, device)
    return field(1, "main") + field(5, field(2, "claim") + field(3, "team") + field(4, resource))


def pod(name: str, namespace: str, *containers: bytes) -> bytes:
    return field(1, field(1, name) + field(2, namespace) + b"".join(field(3, container) for container in containers))


@contextmanager
def kubelet(root: Path, answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[None]:
    """A server on the kubelet's socket below `root`."""
    socket = root / SOCKET
    socket.parent.mkdir(parents=True)
    handler = grpc.unary_unary_rpc_method_handler(answer)
    service, method = METHOD.strip("/").split("/")
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=(grpc.method_handlers_generic_handler(service, {method: handler}),))
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()


def saying(body: bytes) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def answer(request: bytes, _: grpc.ServicerContext) -> bytes:
        assert request == b""
        return body

    return answer


def asked(root: Path, body: bytes, name: str = "chat-0", namespace: str | None = "team") -> frozenset[str] | None:
    with kubelet(root, saying(body)):
        return pod_devices(name, namespace, root=root)


def test_where_no_socket_is_mounted_nobody_is_asked(root: Path) -> None:
    assert pod_devices("chat-0", "team", root=root) is None
    (root / "var").touch()
    assert pod_devices("chat-0", "team", root=root) is None


def test_a_pod_has_what_all_its_containers_were_given_and_nothing_of_others(root: Path) -> None:
    body = (
        pod("chat-1", "team", given("nvidia.com/gpu", "GPU-of-another-pod"))
        + pod("chat-0", "other-team", given("nvidia.com/gpu", "GPU-of-another-namespace"))
        + pod("chat-0", "team", given("nvidia.com/gpu", A, B), given("nvidia.com/mig-1g.10gb", MIG), given("amd.com/gpu", "0000:03:00.0"))
    )
    assert asked(root, body) == {A, B, MIG, "0000:03:00.0"}


def test_shared_gpus_count_and_what_is_no_gpu_does_not(root: Path) -> None:
    body = pod(
        "chat-0", "team", given("nvidia.com/gpu.shared", f"{A}::3"), given("rdma/hca_shared", "mlx5_0"), given("nvidia.com/pgpu", "7")
    )
    assert asked(root, body) == {f"{A}::3"}


def test_claims_are_told_by_the_names_that_the_container_runtime_knows_their_devices_by(root: Path) -> None:
    claim = "k8s.gpu.nvidia.com/claim=a85e5873-fc49-4554-a151-de159f528a04-gpu-0"
    body = pod(
        "chat-0",
        "team",
        claimed("gpu.nvidia.com", "gpu-0", claim),
        claimed("gpu.nvidia.com", "gpu-1"),
        claimed("compute-domain.nvidia.com", "channel-0", "k8s.compute-domain.nvidia.com/claim=x"),
        claimed("dra.cpu", "cpu-4"),
    )
    assert asked(root, body) == {claim, "gpu.nvidia.com/device=gpu-1"}


def test_a_pod_without_a_gpu_has_none(root: Path) -> None:
    assert asked(root, pod("chat-0", "team", field(1, "main"))) == frozenset()


def test_without_a_namespace_the_name_must_be_the_only_one(root: Path) -> None:
    one = pod("chat-0", "team", given("nvidia.com/gpu", A))
    assert asked(root / "one", one, namespace=None) == {A}
    with pytest.raises(GpuUnavailable, match="the kubelet knows 2 pods chat-0: POD_NAMESPACE tells which"):
        asked(root / "two", one + pod("chat-0", "other-team"), namespace=None)


@pytest.mark.parametrize(("namespace", "text"), [("team", "no pod chat-0 in team"), (None, "no pod chat-0:")])
def test_a_pod_that_the_kubelet_does_not_know_is_told_with_what_names_it(root: Path, namespace: str | None, text: str) -> None:
    with pytest.raises(GpuUnavailable, match=rf"{text}.* POD_NAME and POD_NAMESPACE name it"):
        asked(root, pod("chat-1", "team"), namespace=namespace)


def test_an_answer_that_is_no_message_is_told_as_such(root: Path) -> None:
    with pytest.raises(GpuUnavailable, match="garbled"):
        asked(root, b"\xff\xff\xff")


def test_an_answer_that_is_too_large_is_not_taken(root: Path) -> None:
    with pytest.raises(GpuUnavailable, match="RESOURCE_EXHAUSTED"):
        asked(root, field(9, b"x" * MOST_BYTES))


def test_of_a_pod_with_absurdly_many_devices_only_so_many_are_looked_at(root: Path) -> None:
    taken = asked(root, pod("chat-0", "team", given("nvidia.com/gpu", *(f"GPU-{i}" for i in range(MOST_DEVICES + 9)))))
    assert taken is not None
    assert len(taken) == MOST_DEVICES


def test_a_kubelet_that_refuses_is_told_by_its_status_and_not_by_its_words(root: Path) -> None:
    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "secret")

    with kubelet(root, refuse), pytest.raises(GpuUnavailable, match=r"doesn't answer on .*kubelet\.sock: PERMISSION_DENIED$"):
        pod_devices("chat-0", "team", root=root)


def test_a_kubelet_that_hangs_is_not_waited_for(root: Path) -> None:
    held = threading.Event()

    def hang(_: bytes, __: grpc.ServicerContext) -> bytes:
        held.wait()
        return b""

    with kubelet(root, hang):
        try:
            with pytest.raises(GpuUnavailable, match="DEADLINE_EXCEEDED"):
                pod_devices("chat-0", "team", root=root, timeout_seconds=0.05)
        finally:
            held.set()


def test_a_socket_that_nobody_listens_on_is_unavailable(root: Path) -> None:
    with kubelet(root, saying(b"")):
        os.link(root / SOCKET, root / "kept")
    (root / SOCKET).unlink(missing_ok=True)
    (root / "kept").rename(root / SOCKET)
    with pytest.raises(GpuUnavailable, match="UNAVAILABLE"):
        pod_devices("chat-0", "team", root=root)


def test_a_file_in_its_place_is_no_socket(root: Path) -> None:
    (root / SOCKET).parent.mkdir(parents=True)
    (root / SOCKET).touch()
    with pytest.raises(GpuUnavailable, match="is no socket"):
        pod_devices("chat-0", "team", root=root)


def test_a_kubelet_that_hangs_is_told_before_the_driver_is_blamed_for_it() -> None:
    assert 0.75 * Gpu().timeout >= TIMEOUT_SECONDS


def test_a_path_that_the_system_refuses_is_told_with_its_reason(root: Path) -> None:
    parent = (root / SOCKET).parent
    parent.parent.mkdir(parents=True)
    parent.symlink_to(parent)
    with pytest.raises(GpuUnavailable, match="Too many levels of symbolic links"):
        pod_devices("chat-0", "team", root=root)


def test_a_socket_without_permission_is_told_as_such(root: Path) -> None:
    user = os.geteuid()
    with kubelet(root, saying(b"")):
        (root / SOCKET).chmod(0)
        os.seteuid(user or NOBODY)
        try:
            with pytest.raises(GpuUnavailable, match="no permission; the kubelet lets root alone ask"):
                pod_devices("chat-0", "team", root=root)
        finally:
            os.seteuid(user)
