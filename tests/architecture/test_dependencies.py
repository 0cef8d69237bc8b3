"""Which package may know which: the edges of ARCHITECTURE.md, read from `cargo metadata`."""

import json
import subprocess

import pytest

from lib.gateway import ROOT

# Package -> what it may depend on within the workspace. In tests (dev-dependencies) also what TEST adds.
PROTOCOLS = {"evergate-amqp10", "evergate-mqtt", "evergate-stomp"}
STORES = {"evergate-sqlite", "evergate-postgres"}
ALLOWED = {
    "evergate-model": set(),
    **{protocol: {"evergate-model"} for protocol in PROTOCOLS},
    "evergate-journal": {"evergate-model"},
    **{store: {"evergate-model", "evergate-journal"} for store in STORES},
    "evergate-core": {"evergate-model", "evergate-journal"},
    "evergate-runtime": {"evergate-model", "evergate-core", "evergate-journal"},
    "evergate-simulation": {"evergate-model", "evergate-core", "evergate-journal"},
    "evergate-web-console": set(),
    "evergate-admin": {"evergate-model", "evergate-core", "evergate-runtime", "evergate-journal", "evergate-web-console"},
}
# What needs no clock, no socket and no runtime must not be able to reach for one.
PURE = {"evergate-model", "evergate-core", "evergate-simulation", *PROTOCOLS}
NOT_PURE = {"tokio", "async-std", "mio", "sqlx", "axum", "hyper", "rustls"}


@pytest.fixture(scope="module")
def packages():
    command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--locked"]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    return {package["name"]: package for package in found}


def dependencies(package, kind):
    return {dependency["name"] for dependency in package["dependencies"] if dependency["kind"] == kind}


def test_every_package_has_its_place(packages):
    assert set(packages) == {*ALLOWED, "evergate"}


@pytest.mark.parametrize("name", ALLOWED)
def test_dependencies_point_one_way(packages, name):
    ours = dependencies(packages[name], None) & set(packages)
    assert ours <= ALLOWED[name], f"{name} must not know {sorted(ours - ALLOWED[name])}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_sessions_and_core_have_no_runtime(packages, name):
    found = (dependencies(packages[name], None) | dependencies(packages[name], "build")) & NOT_PURE
    assert not found, f"{name} must not know {sorted(found)}"


@pytest.mark.parametrize("name", sorted(PROTOCOLS | {"evergate-core"}))
def test_protocols_and_core_do_not_meet_even_in_tests(packages, name):
    forbidden = {"evergate-core"} | PROTOCOLS
    assert not (dependencies(packages[name], "dev") & forbidden - {name})


def test_unsafe_is_forbidden_and_every_package_follows_the_lints(packages):
    root = (ROOT / "Cargo.toml").read_text()
    assert 'unsafe_code = "forbid"' in root
    for package in packages.values():
        with open(package["manifest_path"]) as manifest:
            assert "[lints]\nworkspace = true" in manifest.read(), package["name"]
