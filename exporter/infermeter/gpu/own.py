"""Which of the devices that a source sees are the server's own: who is asked, in which order, and what is believed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from infermeter.config import Server
from infermeter.errors import GpuUnavailable
from infermeter.gpu.choice import VISIBLE, Allocated, allocated, chosen, visible
from infermeter.gpu.processes import age_seconds, is_there, process_tree
from infermeter.gpu.source import Seen
from infermeter.model import GpuIdentity

log = logging.getLogger(__name__)

SETTLED_SECONDS: Final = 60.0
"""A server takes its devices one after the other, each worker for itself: a tree is believed once none of those computing is younger."""

OF_THE_SERVER: Final = frozenset({"replay", "simulated", "triton"})
"""Sources that see no devices but the server's."""


def _kubelet(name: str, namespace: str | None) -> frozenset[str] | None:
    from infermeter.gpu.pod_resources import pod_devices  # noqa: PLC0415 - a machine without a kubelet doesn't need the messages

    return pod_devices(name, namespace)


class OwnGpus:
    """`server.gpus` as a choice, made anew whenever the source is opened. The reading thread's alone.

    Each line of the log is told once, however often the source is opened.
    """

    def __init__(
        self,
        server: Server,
        env: Mapping[str, str],
        *,
        pod_devices: Callable[[str, str | None], Collection[str] | None] = _kubelet,
        tree: Callable[[int], frozenset[int]] = process_tree,
        age: Callable[[int], float | None] = age_seconds,
        exists: Callable[[int], bool] = is_there,
    ) -> None:
        """`env` is the process's. The rest asks the system: what the kubelet gave a pod, and about processes (pid, seconds)."""
        self._server = server
        self._env = env
        self._pod_devices = pod_devices
        self._tree = tree
        self._age = age
        self._exists = exists
        self._told: set[str] = set()

    def __call__(self, seen: Seen) -> tuple[GpuIdentity, ...]:
        """The server's devices. Where nothing tells them and there is more than one, all of them, marked as assumed.

        Raises: ConfigError (a device is listed that isn't there), GpuUnavailable (who should know doesn't say it yet).
        """
        identities = seen.identities
        if self._server.gpus != "auto":
            return chosen(identities, self._server.gpus, self._env)
        if not identities or all(identity.source in OF_THE_SERVER for identity in identities):
            return identities
        for told in (self._by_kubelet, self._by_process, self._by_pod, self._by_runtime):
            taken = told(seen)
            if taken is not None:
                return taken
        return tuple(replace(identity, assumed=True) for identity in identities) if len(identities) > 1 else identities

    def _by_kubelet(self, seen: Seen) -> tuple[GpuIdentity, ...] | None:
        name, namespace = self._pod()
        ids = self._pod_devices(name, namespace)
        if ids is None:
            return None
        if not ids:
            self._tell("the kubelet gave this pod no GPU: it doesn't tell which are the server's")
            return None
        given = allocated(seen.identities, ids)
        if given.taken:
            self._tell_of(given)
            return given.taken
        if given.unseen:
            raise GpuUnavailable(f"none of the {given.unseen} GPUs that the kubelet gave this pod is seen here")
        self._tell("the kubelet's names for this pod's GPUs say nothing about those here: list them in server.gpus")
        return None

    def _tell_of(self, given: Allocated) -> None:
        if given.sliced:
            self._tell("the kubelet gave this pod a slice of a GPU that others have slices of: list it in server.gpus with its share")
        if missing := given.unseen + given.unnamed:
            self._tell(f"of the GPUs that the kubelet gave this pod, {missing} can't be told apart here or aren't seen")

    def _by_process(self, seen: Seen) -> tuple[GpuIdentity, ...] | None:
        pid = self._server.pid
        if pid is None:
            return None
        if seen.processes is None:
            self._tell("server.pid: this source of GPU readings doesn't tell who computes")
            return None
        computing = seen.processes()
        if self._is_elsewhere(pid for pids in computing.values() for pid in pids):
            self._tell("server.pid: no process on the GPUs is one of those seen here; it takes the pid namespace of the host (hostPID)")
            return None
        tree = self._tree(pid)
        own = {uuid: pids & tree for uuid, pids in computing.items() if pids & tree}
        if not own:
            raise GpuUnavailable(f"process {pid} computes on no GPU yet")
        ages = [self._age(one) for pids in own.values() for one in pids]
        if any(age is not None and age < SETTLED_SECONDS for age in ages):
            raise GpuUnavailable(f"process {pid} has started to compute just now, and may take more GPUs")
        return tuple(identity for identity in seen.identities if identity.uuid in own)

    def _is_elsewhere(self, pids: Iterable[int]) -> bool:
        """Whether these are pids of a namespace that isn't this one: there are some, and none exists here."""
        every = frozenset(pids)
        return bool(every) and not any(self._exists(pid) for pid in every)

    def _by_pod(self, seen: Seen) -> tuple[GpuIdentity, ...] | None:
        """By the pods that the source names."""
        if not seen.pods:
            return None
        name, namespace = self._pod()
        named = {uuid: pod for uuid, pod in seen.pods.items() if pod[1] == name and namespace in {None, pod[0]}}
        if len(set(named.values())) > 1:
            raise GpuUnavailable(f"several pods {name} have GPUs: POD_NAMESPACE tells which")
        if named:
            return tuple(identity for identity in seen.identities if identity.uuid in named)
        if "POD_NAME" in self._env:
            raise GpuUnavailable(f"no GPU is told to be pod {name}'s")
        return None

    def _by_runtime(self, seen: Seen) -> tuple[GpuIdentity, ...] | None:
        return visible(seen.identities, self._env.get(VISIBLE, ""))

    def _pod(self) -> tuple[str, str | None]:
        """Name and namespace of the pod that this runs in. A pod's host name is its name, unless it has the host's network."""
        return self._env.get("POD_NAME") or self._env.get("HOSTNAME", ""), self._env.get("POD_NAMESPACE") or None

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            log.warning("%s", line)
