"""The recipes, checked as far as they can be without a container engine or a cluster.

compose files against the Compose specification's schema, Dockerfile and scripts by their linters, manifests against
what this file writes down of KubeRay's and Kubernetes' fields (no schema of theirs is installable from PyPI).
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from eos_platform.engine.cluster.ray_session import NODE_ENVIRONMENT

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SECRETS = (
    "RAY_AUTH_TOKEN",
    "POSTGRES_PASSWORD",
    "OPTUNA_PASSWORD",
    "MLFLOW_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
)


def tool(name):
    found = Path(sys.executable).with_name(name)
    path = str(found) if found.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def passes(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_files_follow_the_specification():
    files = [str(DOCKER / name) for name in ("compose.yaml", "compose.cuda.yaml")]
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *files)


def test_the_dockerfile_and_the_scripts_pass_their_linters():
    passes(tool("hadolint"), str(DOCKER / "Dockerfile"))
    passes(tool("shellcheck"), str(DOCKER / "postgres-init.sh"), str(DOCKER / "slurm" / "study.sbatch"))


def test_the_dockerfile_has_both_targets_and_no_root():
    text = (DOCKER / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE)
    assert {"cpu", "cuda"} <= set(stages)
    for stage in ("cpu", "cuda"):
        body = text.split(f" AS {stage}\n")[1].split("\nFROM ")[0]
        assert "USER 1000:1000" in body
    copied = re.findall(r"^COPY (\S+)", text, re.MULTILINE)
    kept = (DOCKER / "Dockerfile.dockerignore").read_text().split()
    for name in copied:
        assert (DOCKER.parent / name).exists()
        assert f"!{name}" in kept


def interpolated(name, values):
    """``docker compose config`` for one file's variables: what it would stop with, or nothing."""
    missing = []
    text = (DOCKER / name).read_text().replace("$$", "")
    for variable, rule in re.findall(r"\$\{(\w+)(?::([-?])[^}]*)?\}", text):
        if not values.get(variable) and rule != "-":
            missing.append(variable)
    return missing


def test_without_secrets_the_stack_stops_before_it_starts():
    example = dict(
        line.split("=", 1)
        for line in (DOCKER / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert example == dict.fromkeys(SECRETS, "")  # none has a default
    assert set(interpolated("compose.yaml", example)) == set(SECRETS)
    assert interpolated("compose.yaml", dict.fromkeys(SECRETS, "x")) == []
    text = (DOCKER / "compose.yaml").read_text()
    for secret in SECRETS:
        uses = re.findall(rf"\$\{{{secret}([^}}]*)\}}", text)
        assert uses
        assert all(use.startswith(":?is not set") for use in uses)  # empty is missing too


def test_no_url_holds_a_password_and_no_command_line_a_secret():
    text = (DOCKER / "compose.yaml").read_text()
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)
    for service in SERVICES.values():
        assert "PASSWORD" not in str(service.get("command", "")) + str(service.get("entrypoint", ""))


def test_pages_are_offered_to_this_machine_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "ports" not in SERVICES["postgres"]


def test_every_lasting_service_is_watched_and_waited_for():
    for name, service in SERVICES.items():
        if name != "study":
            assert service["healthcheck"]["test"][0] == "CMD"
            assert service["restart"] == "unless-stopped"
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert how == {"condition": "service_healthy"}
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DOCKER / source).exists()


def env_of(name):
    lines = (DOCKER / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_node_is_started_as_eos_cluster_env_says():
    assert env_of("ray.env") == NODE_ENVIRONMENT
    for name in ("head", "worker", "study"):
        assert SERVICES[name]["env_file"] == ["ray.env"]
        assert "RAY_AUTH_TOKEN" in SERVICES[name]["environment"]
    base = list(yaml.safe_load_all((DOCKER / "kuberay" / "base.yaml").read_text()))
    (config,) = [one for one in base if one["kind"] == "ConfigMap"]
    assert config["data"] == {name: value for name, value in NODE_ENVIRONMENT.items() if name != "RAY_AUTH_MODE"}
    assert 'eval "$environment"' in (DOCKER / "slurm" / "study.sbatch").read_text()


@pytest.mark.parametrize("service", ["study", "dashboard"])
def test_the_commands_are_known_to_eos(service):
    """The words after ``eos`` parse: --help at their end is reached, unknown options are not."""
    words = SERVICES[service]["command"]
    if service == "study":
        shell = SERVICES[service]["entrypoint"][2]
        words = shell[shell.index("eos study run") :].replace('"$$@"', "quickstart").split()
    done = subprocess.run(
        [sys.executable, "-m", "eos_platform", *words[1:], "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    assert all(option in done.stdout for option in options)


# the fields used here, of ray.io/v1 and of pods: a misspelt one is a failure
RAY_CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
RAY_JOB = {
    "entrypoint",
    "submissionMode",
    "backoffLimit",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "rayClusterSpec",
}
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
CONTAINER = {"name", "image", "envFrom", "ports", "resources", "volumeMounts"}


def documents(name):
    return list(yaml.safe_load_all((DOCKER / "kuberay" / name).read_text()))


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_the_manifests_fit_together(name):
    (manifest,) = documents(name)
    assert manifest["apiVersion"] == "ray.io/v1"
    spec = manifest["spec"]
    if manifest["kind"] == "RayJob":
        assert set(spec) == RAY_JOB
        assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
        assert spec["backoffLimit"] > 0  # a retry resumes
        spec = spec["rayClusterSpec"]
    assert set(spec) == RAY_CLUSTER
    assert spec["authOptions"]["mode"] == "token"
    declared = {
        (one["kind"], one["metadata"]["name"])
        for file in ("base.yaml", "secrets.example.yaml")
        for one in documents(file)
    }
    assert ("Secret", spec["authOptions"]["secretName"]) in declared
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        assert set(group) <= GROUP
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        assert set(pod) == {"securityContext", "containers", "volumes"}
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert set(container) <= CONTAINER
        assert {"requests", "limits"} == set(container["resources"])
        for source in container["envFrom"]:
            (kind,) = source
            wanted = {"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind]
            assert (wanted, source[kind]["name"]) in declared
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        for volume in pod["volumes"]:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in declared
    # the stores' credentials go to the driver's pod alone
    assert "secretRef" not in str(spec["workerGroupSpecs"])


def test_both_manifests_make_the_same_cluster():
    (cluster,), (job,) = documents("raycluster.yaml"), documents("rayjob.yaml")
    assert cluster["spec"] == job["spec"]["rayClusterSpec"]


def test_example_secrets_are_empty():
    for secret in documents("secrets.example.yaml"):
        for name, value in secret["stringData"].items():
            assert value == "" or name == "EOS_STORES_STORAGE"


STAND_INS = {
    "eos": "echo :",
    "scontrol": 'case "$1" in show) echo "$3" ;; *) echo "scontrol $*" >>"$SAID" ;; esac',
    "srun": """trap 'echo stopped >>"$SAID"; exit 130' TERM; echo "srun $*" >>"$SAID"; sleep 30 & wait $!""",
}


def test_at_the_time_limit_the_study_stops_and_the_job_is_queued_again(tmp_path):
    """The script itself, with stand-ins for SLURM's commands."""
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    said, runs = tmp_path / "said", tmp_path / "runs"
    runs.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SAID": str(said),
        "EOS_RUNS": str(runs),
        "EOS_STORES_OPTUNA": "postgresql+psycopg://optuna@db/optuna",
        "EOS_STORES_MLFLOW": "http://mlflow:5000",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n1",
        "SLURM_NNODES": "1",
    }
    job = subprocess.Popen(["bash", str(DOCKER / "slurm" / "study.sbatch"), "quickstart"], env=environment)
    try:
        end = time.monotonic() + 20
        while not (said.exists() and "srun" in said.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        assert list(runs.glob(".ray-token-7"))
        job.terminate()
        job.wait(20)
    finally:
        job.kill()
    begun, *rest = said.read_text().splitlines()
    assert "symmetric-run" in begun
    assert begun.endswith("quickstart")
    assert rest == ["stopped", "scontrol requeue 7"]
    assert not list(runs.iterdir()), "the token of a job that is over"
