"""What lies in `deploy/`: well-formed by the schemas of those who read it, and true to the settings of the program."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from realtime.config import PREFIX, Config
from tools import pin_images
from tools.cluster import ROOT

if TYPE_CHECKING:
    import pathlib

DEPLOY = ROOT / "deploy"
DRAIN_S = Config().drain_s
SETTINGS = {PREFIX + one.name.upper() for one in fields(Config)}
SECRET = {PREFIX + one.name.upper() for one in fields(Config) if one.metadata["secret"]}
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def seconds(text: str) -> int:
    """Return a duration of compose: `40s`."""
    found = re.fullmatch(r"(\d+)s", text)
    assert found is not None
    return int(found[1])


# -- Kubernetes -------------------------------------------------------------------------------------


def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """Return every object of every manifest by its kind and name."""
    found = {}
    for path in MANIFESTS:
        for one in yaml.safe_load_all(path.read_text("utf-8")):
            name = one["metadata"].get("name") or one["metadata"]["generateName"]
            assert (one["kind"], name) not in found
            found[one["kind"], name] = one
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.filterwarnings("ignore::UserWarning:kubernetes_validate")  # it has the nearest minor version, and says so
def test_manifests_fit_the_schemas_of_kubernetes(path: pathlib.Path, version: str) -> None:
    for one in yaml.safe_load_all(path.read_text("utf-8")):
        kubernetes_validate.validate(one, version, strict=True)


def test_pods_may_do_nothing_that_they_need_not() -> None:
    found = objects()
    for kind, name in (("Deployment", "realtime"), ("Job", "realtime-migrate-")):
        spec = found[kind, name]["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            for variable in container["env"]:
                assert variable["name"] in SETTINGS
                assert (variable["name"] in SECRET) == ("secretKeyRef" in variable["valueFrom"])
    assert set(found["ConfigMap", "realtime"]["data"]) <= SETTINGS - SECRET


def test_secrets_are_named_and_not_held() -> None:
    found = objects()
    wanted = {
        (variable["valueFrom"]["secretKeyRef"]["name"], variable["valueFrom"]["secretKeyRef"]["key"])
        for kind, name in (("Deployment", "realtime"), ("Job", "realtime-migrate-"))
        for container in found[kind, name]["spec"]["template"]["spec"]["containers"]
        for variable in container["env"]
        if "secretKeyRef" in variable["valueFrom"]
    }
    wanted |= {
        (volume["secret"]["secretName"], "master.key")
        for volume in found["Deployment", "realtime"]["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    examples = {
        (name, key): value for (kind, name), one in found.items() if kind == "Secret" for key, value in one["stringData"].items()
    }
    assert wanted == set(examples)
    assert all("CHANGE-ME" in value for value in examples.values())


def test_nodes_and_nothing_else_get_the_master_key_and_from_a_file_that_others_cannot_read() -> None:
    found = objects()
    spec = found["Deployment", "realtime"]["spec"]["template"]["spec"]
    [volume] = [one["secret"] for one in spec["volumes"] if "secret" in one]
    [mount] = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "master-key"]
    [(file, value)] = found["Secret", volume["secretName"]]["stringData"].items()
    assert found["ConfigMap", "realtime"]["data"]["ROOMWIRE_MASTER_KEY_FILE"] == f"{mount['mountPath']}/{file}"
    assert value == "CHANGE-ME"
    assert volume["defaultMode"] & 0o027 == 0, "the node refuses any other"
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
    services = compose()["services"]
    assert {name for name, one in services.items() if one.get("secrets")} == {"node-a", "node-b", "node-c"}
    for name in ("node-a", "node-b", "node-c"):
        assert services[name]["secrets"] == ["master.key"]
        assert services[name]["environment"]["ROOMWIRE_MASTER_KEY_FILE"] == "/run/secrets/master.key"
    assert "secret" not in str(found["Job", "realtime-migrate-"]["spec"]["template"]["spec"].get("volumes", []))


def test_a_pod_has_the_time_to_drain_and_leaves_the_service_first() -> None:
    spec = objects()["Deployment", "realtime"]["spec"]["template"]["spec"]
    [node] = spec["containers"]
    before_s = node["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before_s > node["readinessProbe"]["periodSeconds"]
    assert spec["terminationGracePeriodSeconds"] >= before_s + DRAIN_S + 10
    assert objects()["ConfigMap", "realtime"]["data"]["ROOMWIRE_DRAIN_S"] == f"{DRAIN_S:g}"
    assert (node["livenessProbe"]["httpGet"]["path"], node["readinessProbe"]["httpGet"]["path"]) == (
        "/healthz",
        "/readyz?exclude=bus&exclude=tasks",
    )


def test_what_selects_the_nodes_finds_them() -> None:
    found = objects()
    deployment = found["Deployment", "realtime"]["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    [port] = deployment["template"]["spec"]["containers"][0]["ports"]
    for selector in (
        deployment["selector"]["matchLabels"],
        found["PodDisruptionBudget", "realtime"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy", "realtime"]["spec"]["podSelector"]["matchLabels"],
        found["Service", "realtime"]["spec"]["selector"],
    ):
        assert selector.items() <= labels
    assert found["Service", "realtime"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert found["NetworkPolicy", "realtime"]["spec"]["ingress"][0]["ports"] == [{"port": port["containerPort"]}]
    scaler = found["HorizontalPodAutoscaler", "realtime"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "realtime"}
    assert "roomwire_connections" in {
        metric["pods"]["metric"]["name"] for metric in scaler["metrics"] if metric["type"] == "Pods"
    }
    assert "replicas" not in deployment, "the autoscaler would be overruled by every rollout"


# -- compose ----------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return found


def test_compose_has_the_form_of_the_compose_specification() -> None:
    found = compose()
    assert {key for key in found if not key.startswith("x-")} == {"name", "services", "networks", "volumes", "secrets"}
    known = {
        "image", "build", "init", "restart", "stop_grace_period", "read_only", "tmpfs", "cap_drop", "security_opt", "ulimits",
        "mem_limit", "depends_on", "networks", "environment", "volumes", "healthcheck", "shm_size", "command", "ports",
        "secrets",
    }  # fmt: skip
    for name, service in found["services"].items():
        assert service.keys() <= known, name
        assert set(service["networks"]) <= found["networks"].keys()
        assert set(service.get("secrets", [])) <= found["secrets"].keys()
        for other, how in service.get("depends_on", {}).items():
            needed = found["services"][other]
            assert how["condition"] in ("service_healthy", "service_completed_successfully")
            if how["condition"] == "service_healthy" and not other.startswith("node-"):  # those have their image's
                assert "test" in needed["healthcheck"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in found["volumes"] or (DEPLOY / source).exists() or source == "./tls"


def test_the_nodes_of_compose_drain_believe_nginx_alone_and_write_nowhere() -> None:
    found = compose()["services"]
    nodes = {name: service for name, service in found.items() if name.startswith("node-")}
    assert list(nodes) == ["node-a", "node-b", "node-c"]
    for service in (*nodes.values(), found["migrate"]):
        assert service["environment"].keys() <= SETTINGS
        assert all(":?}" in service["environment"][name] for name in SECRET & service["environment"].keys()), "none is forgotten"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert seconds(service["stop_grace_period"]) >= DRAIN_S + 10
    address = found["nginx"]["networks"]["inside"]["ipv4_address"]
    assert {service["environment"]["ROOMWIRE_TRUSTED_PROXIES"] for service in nodes.values()} == {f"{address}/32"}
    assert all("ports" not in service for name, service in found.items() if name != "nginx"), "only nginx is reached from outside"
    assert re.findall(r"server (node-\w):8000", (DEPLOY / "nginx.conf").read_text("utf-8")) == [*nodes, *nodes, *nodes]
    assert [f"node-{service['environment']['ROOMWIRE_NODE_ID']}" for service in nodes.values()] == list(nodes), (
        "balancers route by it"
    )


def test_images_have_versions() -> None:
    images = {service["image"] for service in compose()["services"].values()} - {"roomwire"}
    images |= set(re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    assert images
    assert all(re.search(r":[\d.]+", image) for image in images)


# -- the image --------------------------------------------------------------------------------------


def test_the_image_is_built_from_what_is_there_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    for source in re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE):
        assert (ROOT / source).exists(), source
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK" in text
    assert set(re.findall(PREFIX + r"\w+", text)) <= SETTINGS
    assert "pip install" not in "".join(
        line for line in text.splitlines() if "--require-hashes" not in line and "--no-deps" not in line
    )


# -- systemd ----------------------------------------------------------------------------------------


def unit(path: pathlib.Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(
        strict=False, interpolation=None
    )  # a key may come twice: the lists are not of interest here
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their capitals
    parser.read_string(path.read_text("utf-8"))
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_hardened(path: pathlib.Path) -> None:
    service = unit(path)["Service"]
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["User"] == "roomwire"
    assert service["CapabilityBoundingSet"] == ""
    assert set(re.findall(PREFIX + r"[A-Z_]+(?==)", path.read_text("utf-8"))) <= SETTINGS


def test_the_service_stops_by_draining() -> None:
    service = unit(DEPLOY / "systemd" / "roomwire.service")["Service"]
    assert int(service["TimeoutStopSec"]) >= DRAIN_S + 10
    assert service["KillMode"] == "mixed", "a signal to the workers or to PostgreSQL would not be a drain"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here: install the systemd package")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_understands_the_units(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    here = tmp_path / path.name
    here.write_text(path.read_text("utf-8").replace("/opt/roomwire/bin/roomwire", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True, check=False, timeout=50
    )
    complaints = [line for line in done.stderr.splitlines() if path.name in line]
    assert (done.returncode, complaints) == (0, [])


# -- images ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", pin_images.FILES)
def test_every_image_of_others_can_be_pinned_and_pinned_again(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    named = set(re.findall(r"(?:^FROM |image: )([^\s@]+)", text, re.MULTILINE)) - {"roomwire"}
    assert pin_images.images(text) == named != set()
    once = pin_images.pinned(text, dict.fromkeys(named, f"sha256:{'a' * 64}"))
    assert once.count(f"@sha256:{'a' * 64}") >= len(named)
    twice = pin_images.pinned(once, dict.fromkeys(named, f"sha256:{'b' * 64}"))
    assert twice == once.replace("a" * 64, "b" * 64)


# -- security.md -------------------------------------------------------------------------------------


def test_security_md_has_every_point_and_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(range(1, 51))
    named = re.findall(r"`((?:tests|realtime|tools|requirements|web)/[\w./-]+\.\w+)`", text)
    assert len(named) > 50
    assert [name for name in named if not (ROOT / name).exists()] == []
