"""An archive is looked at before any node is asked to load it, and what is wrong with it is said in a line."""

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.errors import NotThere, SandboxError
from sandbox.layout import Layout
from sandbox.nodes import faults, images, loading
from sandbox.nodes.plan import NodePlan
from sandbox.progress import Silence


def archive(path: Path, **documents: Any) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in documents.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(f"{name}.json")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_an_archive_of_docker_tells_all_its_names(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.tar", manifest=[{"RepoTags": ["one:1", "two:2"]}, {"RepoTags": ["three:3"]}])
    assert loading.references_of(made) == ["one:1", "two:2", "three:3"]


def test_an_archive_in_the_oci_form_tells_its_name(tmp_path: Path) -> None:
    noted = {"annotations": {"io.containerd.image.name": "registry.example/ours:7"}}
    made = archive(tmp_path / "a.tar", index={"manifests": [noted, {"annotations": {}}]})
    assert loading.references_of(made) == ["registry.example/ours:7"]


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ({"manifest": [{"RepoTags": None}]}, "names no image"),
        ({"other": {}}, "names no image"),
        ({"manifest": "text"}, "its manifest.json is not what docker save writes"),
        ({"manifest": ["text"]}, "its manifest.json is not what docker save writes"),
        ({"manifest": [{"RepoTags": [7]}]}, "its manifest.json is not what docker save writes"),
        ({"manifest": 7}, "its manifest.json is not what docker save writes"),
        ({"index": []}, "names no image"),
        ({"index": ["text"]}, "its index.json is not what an OCI tool writes"),
        ({"index": {"manifests": [{"annotations": {"io.containerd.image.name": 7}}]}}, "an OCI tool writes"),
    ],
)
def test_an_archive_that_no_pod_could_ask_for_is_refused(
    documents: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SandboxError, match=said) as refusal:
        loading.references_of(archive(tmp_path / "a.tar", **documents))
    assert "docker save" in refusal.value.way_out


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("hello")
    with pytest.raises(SandboxError, match=r"is no archive.*not a whole tar file") as refusal:
        loading.references_of(tmp_path / "a.tar")
    assert "\n" not in refusal.value.problem
    with pytest.raises(SandboxError, match=r"is no archive.*Is a directory"):
        loading.references_of(tmp_path)


def test_a_manifest_that_is_no_json_is_told_in_plain_words(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"), io.BytesIO())
    with pytest.raises(SandboxError, match=r"its manifest.json is not what docker save writes\."):
        loading.references_of(tmp_path / "a.tar")


def test_images_in_files_of_the_same_name_are_all_kept_and_a_newer_one_replaces_its_older(
    tmp_path: Path, plan: NodePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SimpleNamespace(plan=plan, first_pid=lambda: None)
    monkeypatch.setattr(loading, "some_machines", lambda _: [machine])
    layout = Layout("plain", tmp_path)

    def kept(reference: str, folder: str) -> set[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        made = archive(tmp_path / folder / "image.tar", manifest=[{"RepoTags": [reference]}])
        assert loading.load(layout, str(made), Silence()) == [reference]
        return {name for it in layout.images.glob("*.tar") for name in loading.references_of(it)}

    assert kept("one:1", "a") == {"one:1"}
    assert kept("two:2", "b") == {"one:1", "two:2"}
    assert kept("two:2", "a") == {"one:1", "two:2"}
    assert len(list(layout.images.iterdir())) == 2
    # The last part is the same, and so long that the name of a file could not hold it twice.
    assert len(kept(f"here/{'x' * 100}:2", "a")) == 3
    assert len(kept(f"there/{'x' * 100}:2", "a")) == 4
    for name in images.RECIPES:
        assert not (layout.images / f"{name}.tar").exists()


def test_a_name_that_is_neither_image_nor_file_is_refused_with_the_known_names(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="neither an image") as refusal:
        loading.references_of(tmp_path / "nothing")
    assert "postgres" in refusal.value.way_out


def test_a_sandbox_without_real_nodes_says_how_to_get_some(tmp_path: Path) -> None:
    layout = Layout("plain", tmp_path)
    with pytest.raises(NotThere, match="has no real nodes") as refusal:
        loading.load(layout, "tools", Silence())
    assert "--real-nodes 3" in refusal.value.way_out
    with pytest.raises(NotThere, match="has no real nodes"):
        faults.crash(layout, "1")
