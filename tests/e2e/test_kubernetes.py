"""docker/kubernetes against the schemas of Kubernetes, its restricted Pod Security Standard, and our own programs, which must
know every setting that stands there. Without a cluster."""

import copy
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stack import PROGRAMS, ROOT

FOLDER = ROOT / "docker" / "kubernetes"
VERSIONS = ("1.30", "1.37")
Resource = dict[str, Any]
URIS = {
    "postgres_uri": "postgresql://u:p@127.0.0.1:1/t",
    "mongo_uri": "mongodb://u:p@127.0.0.1:1/t",
    "redis_uri": "redis://:p@127.0.0.1:1",
}


def kustomization() -> Resource:
    text: Resource = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
    return text


def read_all() -> list[Resource]:
    return [
        resource
        for name in kustomization()["resources"]
        for resource in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
    ]


RESOURCES = read_all()
BY_NAME = {(resource["kind"], resource["metadata"]["name"]): resource for resource in RESOURCES}
SETTINGS = BY_NAME["ConfigMap", "tillwire"]["data"]


def pods() -> Iterator[tuple[str, Resource]]:
    for (kind, name), resource in BY_NAME.items():
        if kind in ("Deployment", "Job"):
            yield name, resource["spec"]["template"]


def test_every_file_is_listed() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert sorted(kustomization()["resources"]) == sorted(files)
    assert {name for kind, name in BY_NAME if kind == "Deployment"} == set(PROGRAMS)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_resource_is_what_its_schema_says(version: str) -> None:
    for resource in RESOURCES:
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_wrong_word_or_type_would_be_found() -> None:
    for path, value in (("minReadySecond", 3), ("replicas", "two")):
        wrong = copy.deepcopy(BY_NAME["Deployment", "edge"])
        wrong["spec"][path] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def unrestricted(pod: Resource) -> list[str]:
    """What the restricted standard would refuse."""
    spec, of_pod = pod["spec"], pod["spec"].get("securityContext", {})
    found = [word for word in ("hostNetwork", "hostPID", "hostIPC") if spec.get(word)]
    found += [f"volume {volume['name']}" for volume in spec.get("volumes", []) if "secret" not in volume]
    for container in spec["containers"]:
        context = {**of_pod, **container.get("securityContext", {})}
        rules = {
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "runAsUser": context.get("runAsUser", 1) != 0,
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
            "privileged": not context.get("privileged"),
            "capabilities": context.get("capabilities") == {"drop": ["ALL"]},
            "seccompProfile": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "readOnlyRootFilesystem": context.get("readOnlyRootFilesystem") is True,  # ours
            "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
        }
        found += [rule for rule, kept in rules.items() if not kept]
    return found


def test_pods_are_restricted_and_have_no_word_with_the_cluster() -> None:
    namespace = BY_NAME["Namespace", "tillwire"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods():
        assert unrestricted(pod) == [], name
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False, "else every service puts variables into the environment"


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda spec: spec["securityContext"].update(runAsNonRoot=False), "runAsNonRoot"),
        (lambda spec: spec["securityContext"].pop("seccompProfile"), "seccompProfile"),
        (lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"), "allowPrivilegeEscalation"),
        (lambda spec: spec["containers"][0]["securityContext"].pop("capabilities"), "capabilities"),
        (lambda spec: spec.update(hostNetwork=True), "hostNetwork"),
    ],
)
def test_a_pod_that_is_not_restricted_would_be_found(spoil: Callable[[Resource], Any], rule: str) -> None:
    pod = copy.deepcopy(BY_NAME["Deployment", "edge"]["spec"]["template"])
    spoil(pod["spec"])
    assert unrestricted(pod) == [rule]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_deployment_is_probed_spread_and_given_time(program: str) -> None:
    deployment = BY_NAME["Deployment", program]["spec"]
    spec, container = deployment["template"]["spec"], deployment["template"]["spec"]["containers"][0]
    labels = {"app": program}
    assert deployment["selector"]["matchLabels"] == labels == deployment["template"]["metadata"]["labels"]
    assert BY_NAME["PodDisruptionBudget", program]["spec"]["selector"]["matchLabels"] == labels
    assert all(spread["labelSelector"]["matchLabels"] == labels for spread in spec["topologySpreadConstraints"])
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert {probe: container[probe]["httpGet"]["path"] for probe in paths} == paths
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["admin"]) == SETTINGS["TW_ADMIN_LISTEN"].split(":")[-1]
    assert all(container[probe]["httpGet"]["port"] == "admin" for probe in paths)
    assert spec["terminationGracePeriodSeconds"] >= 20 and container["resources"]["limits"]["memory"]
    if program == "edge":
        assert BY_NAME["Service", "edge"]["spec"]["selector"] == labels
        assert str(ports["http"]) == SETTINGS["TW_LISTEN"].split(":")[-1]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_takes_what_is_set_there_and_has_the_files_it_needs(program: str, tmp_path: Path) -> None:
    spec = BY_NAME["Deployment", program]["spec"]["template"]["spec"]
    mount = spec["containers"][0]["volumeMounts"][0]["mountPath"]
    for item in spec["volumes"][0]["secret"]["items"]:
        file = tmp_path / item["path"]
        file.touch(mode=0o600)
        file.write_text("kid:" + "00" * 32 if item["path"] == "jwt_keys" else URIS.get(item["path"], "00" * 32))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
    given = {name: value.replace(mount, str(tmp_path)) for name, value in SETTINGS.items()}
    done = subprocess.run(
        [Path(os.environ["TW_BIN_DIR"]) / spec["containers"][0]["command"][0], "--check"],
        env={**plain, **given, "MONGOC_DISABLE_SHM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{mount}/" not in done.stdout, "every file was looked for where the pod has it"
