"""The same rules and dashboards, in the formats of other stacks. Pure: from what is read to what is written.

Nothing is added here, and nothing left out but what an older vmalert refuses: thresholds, severities and queries stand in alerts/rules and
dashboards alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from deploy.src.written import Json, yaml_text

MIMIR_RULES_A_GROUP: Final = 20
"""Mimir's default for ruler_max_rules_per_rule_group; it refuses a group with more."""

MIMIR_NAMESPACE: Final = "infermeter"
NEWER_THAN_VMALERT: Final = "keep_firing_for"
"""A rule's key that vmalert knows since mid-2023; an older one refuses the file that has it. Without it an alert ends a little sooner."""

FOLDER: Final = "Infermeter"
LABELS: Final = {"app.kubernetes.io/name": "infermeter", "app.kubernetes.io/part-of": "infermeter"}


def files(rules: Mapping[str, Json], dashboards: Mapping[str, Json]) -> Mapping[str, str]:
    """Text by path under deploy/. Both arguments are by name of file, without its ending."""
    resources = {
        **{f"rules/infermeter-{name}.yaml": yaml_text(prometheus_rule(f"infermeter-{name}", read)) for name, read in rules.items()},
        **{f"dashboards/{uid}.yaml": yaml_text(config_map(uid, page)) for uid, page in dashboards.items()},
    }
    return {
        **{f"kubernetes/{path}": text for path, text in resources.items()},
        "kubernetes/kustomization.yaml": yaml_text(kustomization(["podmonitor.yaml", *resources])),
        "mimir/rules.yaml": yaml_text(mimir_rules(rules)),
        **{f"victoriametrics/rules/{name}.yaml": yaml_text(vmalert_rules(read)) for name, read in rules.items()},
    }


def prometheus_rule(name: str, read: Json) -> Json:
    """A file of rules as prometheus-operator takes it."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, "labels": dict(LABELS)},
        "spec": {"groups": read["groups"]},
    }


def config_map(uid: str, page: Json) -> Json:
    """A dashboard as Grafana's sidecar takes it. Without spaces: what `kubectl apply` remembers of an object is limited to 256 KiB."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": uid if uid.startswith("infermeter-") else f"infermeter-{uid}",
            "labels": {**LABELS, "grafana_dashboard": "1"},
            "annotations": {"grafana_folder": FOLDER},
        },
        "data": {f"{uid}.json": json.dumps(page, ensure_ascii=False, separators=(",", ":"), sort_keys=True)},
    }


def kustomization(resources: Sequence[str]) -> Json:
    """All of them at once: `kubectl apply -k deploy/kubernetes`."""
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": sorted(resources)}


def mimir_rules(rules: Mapping[str, Json]) -> Json:
    """All groups in one namespace, as `mimirtool rules load` takes them."""
    return {"namespace": MIMIR_NAMESPACE, "groups": [part for read in rules.values() for group in read["groups"] for part in _parts(group)]}


def vmalert_rules(read: Json) -> Json:
    """A file of rules as every vmalert takes it."""
    return {
        "groups": [
            {**group, "rules": [{key: value for key, value in rule.items() if key != NEWER_THAN_VMALERT} for rule in group["rules"]]}
            for group in read["groups"]
        ]
    }


def _parts(group: Json) -> Iterator[Json]:
    """The group, or what is left of it in as many as it takes; a part evaluates by itself, beside the others."""
    rules = group["rules"]
    if len(rules) <= MIMIR_RULES_A_GROUP:
        yield group
        return
    for i, start in enumerate(range(0, len(rules), MIMIR_RULES_A_GROUP), start=1):
        yield {**group, "name": f"{group['name']}-{i}", "rules": rules[start : start + MIMIR_RULES_A_GROUP]}
