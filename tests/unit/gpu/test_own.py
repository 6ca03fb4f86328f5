"""Which GPUs are the server's: who is asked, in which order, and what is believed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from infermeter.config import GpuChoice, Server
from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.own import SETTLED_SECONDS, OwnGpus
from infermeter.gpu.source import Seen
from infermeter.model import GpuIdentity

A, B, C = (GpuIdentity(f"GPU-{i}dcd427f-483b-b48f-d7e5-75fb19a52b76", index=i, product="NVIDIA H100", source="nvml") for i in range(3))
ABC = (A, B, C)
MIG = GpuIdentity("MIG-1b0a4a3c-9bcd-5dd1-8c30-6f1b4ef1a53a", index=0)
OLD, YOUNG = SETTLED_SECONDS + 1, SETTLED_SECONDS - 1


class System:
    """What the kubelet and the process table say, and for which pod the kubelet was asked."""

    def __init__(
        self, *, given: Collection[str] | None = None, trees: Mapping[int, set[int]] | None = None, ages: Mapping[int, float] | None = None
    ) -> None:
        self.given = given
        self.trees = trees or {}
        self.ages = ages or {}
        self.asked: list[tuple[str, str | None]] = []

    def pod_devices(self, name: str, namespace: str | None) -> Collection[str] | None:
        self.asked.append((name, namespace))
        return self.given

    def tree(self, pid: int) -> frozenset[int]:
        if pid not in self.trees:
            raise GpuUnavailable(f"there is no process {pid} here")
        return frozenset(self.trees[pid])

    def exists(self, pid: int) -> bool:
        return any(pid in tree for tree in self.trees.values())

    def own(self, server: Server | None = None, env: Mapping[str, str] | None = None) -> OwnGpus:
        return OwnGpus(
            server or Server(),
            {"POD_NAME": "chat-0", "POD_NAMESPACE": "team"} if env is None else env,
            pod_devices=self.pod_devices,
            tree=self.tree,
            age=lambda pid: self.ages.get(pid, OLD),
            exists=self.exists,
        )


def assumed(*identities: GpuIdentity) -> tuple[GpuIdentity, ...]:
    return tuple(replace(identity, assumed=True) for identity in identities)


def computing(**pids: set[int]) -> Seen:
    """A source that tells who computes on a, b and c."""
    names = {"a": A, "b": B, "c": C}
    return Seen(ABC, processes=lambda: {names[name].uuid: frozenset(some) for name, some in pids.items()})


# --- nothing tells ---------------------------------------------------------------------------------------------------------------
def test_several_devices_that_nothing_speaks_for_are_taken_and_marked_as_assumed() -> None:
    assert System().own(env={})(Seen(ABC)) == assumed(A, B, C)
    assert System().own(env={"NVIDIA_VISIBLE_DEVICES": "all"})(Seen(ABC)) == assumed(A, B, C)


def test_a_single_device_needs_nobody_to_speak_for_it() -> None:
    assert System().own(env={})(Seen((A,))) == (A,)


def test_a_machine_without_a_kubelet_s_socket_is_none_of_a_pod() -> None:
    assert OwnGpus(Server(), {"POD_NAME": "chat-0"})(Seen((A,))) == (A,)


def test_where_nothing_is_seen_nobody_is_asked() -> None:
    system = System(given=[A.uuid])
    assert system.own()(Seen(())) == ()
    assert system.asked == []


@pytest.mark.parametrize("source", ["replay", "simulated", "triton"])
def test_the_devices_of_a_recording_a_simulation_or_the_server_itself_are_the_server_s(source: str) -> None:
    system = System(given=[A.uuid])
    theirs = tuple(replace(identity, source=source) for identity in ABC)
    assert system.own(env={"NVIDIA_VISIBLE_DEVICES": "0"})(Seen(theirs)) == theirs
    assert system.asked == []


# --- the configuration -----------------------------------------------------------------------------------------------------------
def test_all_and_a_list_ask_nobody_and_assume_nothing() -> None:
    system = System(given=[A.uuid])
    assert system.own(Server(gpus="all"))(Seen(ABC)) == ABC
    assert system.own(Server(gpus=(GpuChoice(2, share=0.5), GpuChoice(A.uuid, share="process"))))(Seen(ABC)) == (
        replace(C, share_ratio=0.5),
        replace(A, share_by_process=True),
    )
    assert system.own(Server(gpus=()))(Seen(ABC)) == ()
    assert system.asked == []


def test_an_index_beyond_the_last_device_is_the_operator_s_error() -> None:
    with pytest.raises(ConfigError, match="no GPU 3 here"):
        System().own(Server(gpus=(GpuChoice(3),)))(Seen(ABC))


# --- the kubelet -----------------------------------------------------------------------------------------------------------------
def test_what_the_kubelet_gave_this_pod_comes_before_all_else() -> None:
    system = System(given=[B.uuid], trees={7: {7}})
    seen = replace(computing(a={7}), pods={C.uuid: ("team", "chat-0")})
    assert system.own(Server(pid=7))(seen) == (B,)
    assert system.asked == [("chat-0", "team")]


def test_a_pod_without_the_downward_api_is_asked_for_by_its_host_name() -> None:
    system = System(given=[B.uuid])
    assert system.own(env={"HOSTNAME": "chat-0"})(Seen(ABC)) == (B,)
    assert system.own(env={})(Seen(ABC)) == (B,)
    assert system.asked == [("chat-0", None), ("", None)]


def test_mig_instances_are_given_by_their_uuids() -> None:
    assert System(given=[MIG.uuid]).own()(Seen((A, MIG))) == (MIG,)


def test_a_slice_of_a_shared_device_is_taken_whole_and_the_log_asks_for_its_share(caplog: pytest.LogCaptureFixture) -> None:
    own = System(given=[f"{B.uuid}::2"]).own()
    assert own(Seen(ABC)) == own(Seen(ABC)) == (B,)
    assert [record.getMessage() for record in caplog.records] == [
        "the kubelet gave this pod a slice of a GPU that others have slices of: list it in server.gpus with its share"
    ]


def test_given_devices_that_are_not_seen_do_not_hide_those_that_are(caplog: pytest.LogCaptureFixture) -> None:
    assert System(given=[B.uuid, "GPU-9dcd427f-483b-b48f-d7e5-75fb19a52b76", "0000:03:00.0"]).own()(Seen(ABC)) == (B,)
    assert [record.getMessage() for record in caplog.records] == [
        "of the GPUs that the kubelet gave this pod, 2 can't be told apart here or aren't seen"
    ]


def test_given_devices_of_which_none_is_seen_are_waited_for() -> None:
    with pytest.raises(GpuUnavailable, match="none of the 1 GPUs that the kubelet gave this pod is seen here"):
        System(given=["GPU-9dcd427f-483b-b48f-d7e5-75fb19a52b76"]).own()(Seen(ABC))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([], "the kubelet gave this pod no GPU: it doesn't tell which are the server's"),
        (
            ["k8s.gpu.nvidia.com/claim=a85e5873-fc49-4554-a151-de159f528a04-gpu-0"],
            "the kubelet's names for this pod's GPUs say nothing about those here: list them in server.gpus",
        ),
    ],
)
def test_where_the_kubelet_does_not_tell_the_next_is_asked_and_the_log_says_so_once(
    given: list[str], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = System(given=given).own(env={"NVIDIA_VISIBLE_DEVICES": C.uuid})
    assert own(Seen(ABC)) == own(Seen(ABC)) == (C,)
    assert [record.getMessage() for record in caplog.records] == [line]


# --- the process -----------------------------------------------------------------------------------------------------------------
def test_the_devices_that_the_server_s_process_or_a_child_of_it_computes_on_are_the_server_s() -> None:
    system = System(trees={7: {7, 8, 9}, 1: {1, 5}})
    assert system.own(Server(pid=7))(computing(a={8}, b={5}, c={9, 5})) == (A, C)


def test_a_process_that_computes_on_no_device_yet_is_waited_for() -> None:
    own = System(trees={7: {7}, 1: {5}}).own(Server(pid=7))
    for seen in (computing(), computing(b={5})):
        with pytest.raises(GpuUnavailable, match="process 7 computes on no GPU yet"):
            own(seen)


def test_a_process_that_is_not_there_is_waited_for() -> None:
    with pytest.raises(GpuUnavailable, match="there is no process 7 here"):
        System(trees={1: {5}}).own(Server(pid=7))(computing(b={5}))


def test_a_server_that_began_to_compute_just_now_may_take_more_devices_and_is_waited_for() -> None:
    system = System(trees={7: {7, 8}}, ages={8: YOUNG})
    own = system.own(Server(pid=7))
    with pytest.raises(GpuUnavailable, match="process 7 has started to compute just now, and may take more GPUs"):
        own(computing(a={7}, b={8}))
    system.ages = {8: OLD}
    assert own(computing(a={7}, b={8})) == (A, B)


def test_pids_of_another_namespace_say_nothing_so_that_the_next_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    own = System(trees={7: {7}}).own(Server(pid=7), env={})
    assert own(computing(a={40_001}, b={40_002})) == own(computing(a={40_001})) == assumed(A, B, C)
    assert [record.getMessage() for record in caplog.records] == [
        "server.pid: no process on the GPUs is one of those seen here; it takes the pid namespace of the host (hostPID)"
    ]


def test_a_source_that_does_not_tell_who_computes_lets_the_next_be_asked(caplog: pytest.LogCaptureFixture) -> None:
    assert System(trees={7: {7}}).own(Server(pid=7), env={})(Seen((A,))) == (A,)
    assert [record.getMessage() for record in caplog.records] == ["server.pid: this source of GPU readings doesn't tell who computes"]


# --- the pods that the source names ----------------------------------------------------------------------------------------------
def test_devices_that_the_source_says_are_this_pod_s_are_the_server_s() -> None:
    seen = Seen(ABC, pods={A.uuid: ("team", "chat-0"), B.uuid: ("team", "chat-1"), C.uuid: ("other-team", "chat-0")})
    assert System().own()(seen) == (A,)


def test_without_a_namespace_the_pod_s_name_must_be_the_only_one() -> None:
    own = System().own(env={"HOSTNAME": "chat-0"})
    assert own(Seen(ABC, pods={A.uuid: ("team", "chat-0"), B.uuid: ("team", "chat-0")})) == (A, B)
    with pytest.raises(GpuUnavailable, match="several pods chat-0 have GPUs: POD_NAMESPACE tells which"):
        own(Seen(ABC, pods={A.uuid: ("team", "chat-0"), C.uuid: ("other-team", "chat-0")}))


def test_a_pod_that_is_named_and_has_no_device_yet_is_waited_for_but_a_host_name_alone_proves_nothing() -> None:
    seen = Seen(ABC, pods={A.uuid: ("team", "chat-1")})
    with pytest.raises(GpuUnavailable, match="no GPU is told to be pod chat-0's"):
        System().own()(seen)
    assert System().own(env={"HOSTNAME": "node-1"})(seen) == assumed(A, B, C)


# --- the container runtime -------------------------------------------------------------------------------------------------------
def test_what_the_container_runtime_was_told_is_believed() -> None:
    assert System().own(env={"NVIDIA_VISIBLE_DEVICES": f"{A.uuid},{C.uuid}"})(Seen(ABC)) == (A, C)
    assert System().own(env={"NVIDIA_VISIBLE_DEVICES": "4,5,6"})(Seen(ABC)) == ABC
    assert System().own(env={"NVIDIA_VISIBLE_DEVICES": "none"})(Seen(ABC)) == ()
