"""What the kustomizations under deploy/ come to: our own reading of the few features that they use, since kustomize isn't always at hand.

Known: resources (files, folders), components, configMapGenerator from files without a suffix, patches (a strategic merge or a JSON patch,
in a file or inline) with a target of kind, name and label selector, labels, namespace, images. Anything else is an error;
`make test-deploy` holds it against kubectl's own kustomize.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

KNOWN = {
    "apiVersion", "kind", "resources", "components", "configMapGenerator", "generatorOptions", "patches", "labels", "namespace", "images",
}  # fmt: skip
MERGED_BY = {
    "containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath", "ports": "containerPort",
}  # fmt: skip
CORE = {"apps/v1", "v1", "networking.k8s.io/v1", "autoscaling/v2"}


def read(text: str) -> Any:
    """A document of YAML, as fast as libyaml reads it."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def read_all(text: str) -> Iterator[Any]:
    """All documents of a text."""
    return iter(yaml.load_all(text, Loader=yaml.CSafeLoader))


def build(folder: Path) -> list[Json]:
    """The objects of a kustomization."""
    return _of(folder, [])


def build_of(kustomization: Json, folder: Path) -> list[Json]:
    """The objects of a kustomization that isn't written anywhere; `folder` is where its paths begin."""
    return _built(kustomization, folder, [])


def _of(folder: Path, below: list[Json]) -> list[Json]:
    return _built(read((folder / "kustomization.yaml").read_text()), folder, below)


def _built(kustomization: Json, folder: Path, below: list[Json]) -> list[Json]:
    assert kustomization.keys() <= KNOWN, kustomization.keys() - KNOWN
    objects = list(below)
    for resource in kustomization.get("resources", ()):
        path = (folder / resource).resolve()
        objects += build(path) if path.is_dir() else [copy.deepcopy(one) for one in read_all(path.read_text())]
    objects += [_config_map(wanted, folder) for wanted in kustomization.get("configMapGenerator", ())]
    for component in kustomization.get("components", ()):
        objects = _of((folder / component).resolve(), objects)
    for patch in kustomization.get("patches", ()):
        objects = _patched(objects, patch, folder)
    for one in objects:
        for pairs in kustomization.get("labels", ()):
            one["metadata"].setdefault("labels", {}).update(pairs["pairs"])
        if namespace := kustomization.get("namespace"):
            one["metadata"]["namespace"] = namespace
        for image in kustomization.get("images", ()):
            _named(one, image)
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names)), "may not be added twice"
    return objects


def _config_map(wanted: Json, folder: Path) -> Json:
    data = {Path(name).name: (folder / name).read_text() for name in wanted["files"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": wanted["name"]}, "data": data}


def _patched(objects: list[Json], patch: Json, folder: Path) -> list[Json]:
    assert patch.keys() <= {"target", "path", "patch"}
    target = patch["target"]
    assert target.keys() <= {"kind", "name", "labelSelector"}
    change = read((folder / patch["path"]).read_text() if "path" in patch else patch["patch"])
    done: list[Json] = []
    for one in objects:
        if not _meant(one, target):
            done.append(one)
        elif isinstance(change, list):
            done.append(json_patched(one, change))
        elif change.get("$patch") != "delete":
            keep = {key: one[key] for key in ("apiVersion", "kind")}
            merged = merged_with(one, {key: value for key, value in change.items() if key not in keep}, by_name=one["apiVersion"] in CORE)
            merged["metadata"]["name"] = one["metadata"]["name"]
            done.append({**keep, **merged})
    return done


def _meant(one: Json, target: Mapping[str, str]) -> bool:
    labels = one["metadata"].get("labels", {})
    key, _, value = target.get("labelSelector", "").partition("=")
    return (
        re.fullmatch(target.get("kind", ".*"), one["kind"]) is not None
        and re.fullmatch(target.get("name", ".*"), one["metadata"]["name"]) is not None
        and (not key or labels.get(key) == value)
    )


def merged_with(one: Any, change: Any, *, by_name: bool, at: str = "") -> Any:
    """A strategic merge: null removes; lists of Kubernetes' own kinds merge by their key, the new before the old; others are replaced."""
    if isinstance(one, dict) and isinstance(change, dict):
        result = dict(one)
        for key, value in change.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merged_with(one.get(key), value, by_name=by_name, at=key)
        return result
    if isinstance(one, list) and isinstance(change, list) and by_name and at in MERGED_BY:
        key = MERGED_BY[at]
        changes = {entry[key]: entry for entry in change}
        old = [merged_with(entry, changes.pop(entry[key], {}), by_name=by_name) for entry in one]
        return [*(copy.deepcopy(entry) for entry in changes.values()), *old]
    return copy.deepcopy(change)


def json_patched(one: Json, operations: Sequence[Json]) -> Json:
    """RFC 6902, as far as it is used. A path that isn't there is an error."""
    result = copy.deepcopy(one)
    for operation in operations:
        op = operation["op"]
        if op == "move":
            _put(result, operation["path"], _take(result, operation["from"]), replace=False)
        elif op == "test":
            holder, key = _at(result, operation["path"])
            assert holder[key] == operation["value"], f"test of {operation['path']} failed"
        elif op == "remove":
            _take(result, operation["path"])
        else:
            assert op in {"add", "replace"}
            _put(result, operation["path"], copy.deepcopy(operation["value"]), replace=op == "replace")
    return result


def _at(one: Any, path: str) -> tuple[Any, Any]:
    *above, last = (part.replace("~1", "/").replace("~0", "~") for part in path.removeprefix("/").split("/"))
    for key in above:
        one = one[int(key)] if isinstance(one, list) else one[key]
    if isinstance(one, list):
        return one, len(one) if last == "-" else int(last)
    return one, last


def _take(one: Any, path: str) -> Any:
    holder, key = _at(one, path)
    return holder.pop(key)


def _put(one: Any, path: str, value: Any, *, replace: bool) -> None:
    holder, key = _at(one, path)
    if replace:
        assert holder[key] is not None
        holder[key] = value
    elif isinstance(holder, list):
        assert key <= len(holder)
        holder.insert(key, value)
    else:
        holder[key] = value


def _named(one: Any, image: Json) -> None:
    if isinstance(one, dict):
        for key, value in one.items():
            name, _, tag = value.rpartition(":") if key == "image" and isinstance(value, str) else ("", "", "")
            if name == image["name"]:
                one[key] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
            else:
                _named(value, image)
    elif isinstance(one, list):
        for value in one:
            _named(value, image)
