"""`server.gpus`: which of the devices that a source sees are the server's."""

from __future__ import annotations

import pytest

from infermeter.config import GpuChoice
from infermeter.errors import ConfigError
from infermeter.gpu.choice import Allocated, allocated, chosen
from infermeter.model import GpuIdentity

SEEN = (GpuIdentity("GPU-aa01", index=0), GpuIdentity("GPU-aa02", index=1), GpuIdentity("GPU-bb03", index=3))


def uuids(identities: tuple[GpuIdentity, ...]) -> list[str]:
    return [identity.uuid for identity in identities]


def test_all_takes_every_device_whatever_the_environment_says() -> None:
    assert chosen(SEEN, "all", {"NVIDIA_VISIBLE_DEVICES": "0"}) == SEEN


def test_an_empty_list_takes_none() -> None:
    assert chosen(SEEN, (), {}) == ()


def test_a_list_takes_indices_uuids_and_beginnings_of_uuids_in_its_own_order_with_their_shares() -> None:
    choice = (GpuChoice("GPU-bb"), GpuChoice(0, share=0.25), GpuChoice("GPU-aa02"))
    taken = chosen(SEEN, choice, {})
    assert uuids(taken) == ["GPU-bb03", "GPU-aa01", "GPU-aa02"]
    assert [identity.share_ratio for identity in taken] == [1.0, 0.25, 1.0]


def test_an_index_is_the_device_s_own_and_not_its_place_among_those_that_answer() -> None:
    assert uuids(chosen(SEEN, (GpuChoice(3),), {})) == ["GPU-bb03"]


def test_a_whole_uuid_wins_over_one_that_begins_with_it() -> None:
    seen = (GpuIdentity("simulated-1", index=1), GpuIdentity("simulated-10", index=10))
    assert uuids(chosen(seen, (GpuChoice("simulated-1"),), {})) == ["simulated-1"]


@pytest.mark.parametrize(
    ("choice", "where", "problem"),
    [
        (
            (GpuChoice("GPU-cc"),),
            "server.gpus[0]",
            "no GPU 'GPU-cc' here: there are GPU-aa01 (index 0), GPU-aa02 (index 1), GPU-bb03 (index 3)",
        ),
        ((GpuChoice(0), GpuChoice(4)), "server.gpus[1]", "no GPU 4 here"),
        ((GpuChoice(""),), "server.gpus[0]", "no GPU '' here"),
        ((GpuChoice("GPU-aa"),), "server.gpus[0]", "'GPU-aa' could be GPU-aa01 or GPU-aa02"),
        ((GpuChoice(1), GpuChoice("GPU-aa02")), "server.gpus[1]", "'GPU-aa02' is the GPU of server.gpus[0] again"),
    ],
)
def test_an_entry_that_names_no_single_device_is_an_error_at_its_own_path(choice: tuple[GpuChoice, ...], where: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(SEEN, choice, {})
    assert caught.value.where == where
    assert problem in caught.value.problem


def test_a_list_on_a_machine_without_devices_says_that_none_is_seen() -> None:
    with pytest.raises(ConfigError, match="none is seen"):
        chosen((), (GpuChoice(0),), {})


@pytest.mark.parametrize("variable", [None, "", "all", "void", "/var/run/nvidia-container-devices", "GPU-gone", "9" * 5000])
def test_auto_takes_every_device_where_the_container_runtime_says_nothing_about_them(variable: str | None) -> None:
    assert chosen(SEEN, "auto", {} if variable is None else {"NVIDIA_VISIBLE_DEVICES": variable}) == SEEN


def test_auto_takes_none_where_the_container_runtime_gave_none() -> None:
    assert chosen(SEEN, "auto", {"NVIDIA_VISIBLE_DEVICES": "none"}) == ()


@pytest.mark.parametrize(
    ("variable", "taken"), [("GPU-bb03, GPU-aa01", ["GPU-aa01", "GPU-bb03"]), ("3", ["GPU-bb03"]), ("GPU-aa02,0", ["GPU-aa01", "GPU-aa02"])]
)
def test_auto_follows_the_container_runtime(variable: str, taken: list[str]) -> None:
    assert uuids(chosen(SEEN, "auto", {"NVIDIA_VISIBLE_DEVICES": variable})) == taken


def test_host_indices_mean_nothing_where_the_container_shows_only_what_it_was_given() -> None:
    inside = (GpuIdentity("GPU-x", index=0), GpuIdentity("GPU-y", index=1))
    assert chosen(inside, "auto", {"NVIDIA_VISIBLE_DEVICES": "4,5"}) == inside


GPU, MIG = "GPU-8dcd427f-483b-b48f-d7e5-75fb19a52b76", "MIG-1b0a4a3c-9bcd-5dd1-8c30-6f1b4ef1a53a"
NODE = (GpuIdentity(GPU, index=0), GpuIdentity("simulated-1", index=1), GpuIdentity(MIG, index=2))


@pytest.mark.parametrize(
    ("ids", "taken", "sliced", "unseen", "unnamed"),
    [
        ([GPU, MIG], [GPU, MIG], 0, 0, 0),
        (["simulated-1"], ["simulated-1"], 0, 0, 0),
        ([f"{GPU}::0", f"{GPU}::1"], [GPU], 2, 0, 0),
        ([f"nvidia.com/gpu={GPU}"], [GPU], 0, 0, 0),
        (["1"], ["simulated-1"], 0, 0, 0),
        (["nvidia2"], [MIG], 0, 0, 0),
        (["nvidia0/vgpu3"], [GPU], 0, 0, 0),
        (["nvidia0/gi2"], [], 0, 0, 1),
        (["7"], [], 0, 1, 0),
        (["7", "1"], ["simulated-1"], 0, 1, 0),
        (["GPU-0dcd427f-483b-b48f-d7e5-75fb19a52b76", GPU], [GPU], 0, 1, 0),
        (["0000:03:00.0", "k8s.gpu.nvidia.com/claim=8dcd427f-483b-b48f-d7e5-75fb19a52b76-gpu-0"], [], 0, 0, 2),
        ([], [], 0, 0, 0),
    ],
)
def test_what_an_orchestrator_gave_is_told_by_uuids_indices_and_slices(
    ids: list[str], taken: list[str], sliced: int, unseen: int, unnamed: int
) -> None:
    given = allocated(NODE, ids)
    assert given == Allocated(tuple(identity for identity in NODE if identity.uuid in taken), sliced, unseen, unnamed)


def test_an_index_that_an_orchestrator_gave_means_nothing_where_no_more_devices_are_seen_than_it_gave() -> None:
    inside = (GpuIdentity("GPU-x", index=0), GpuIdentity("GPU-y", index=1))
    assert allocated(inside, ["4", "5"]).taken == inside
