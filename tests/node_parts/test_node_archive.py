"""An image is one file that a container runtime can load, and the same content is the same file."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sandbox.nodes.archive import Content, write_archive


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for folder in ("bin", "usr/bin", "usr/lib/x", "etc/alternatives"):
        (root / folder).mkdir(parents=True)
    for name in ("bin/busybox", "usr/bin/server"):
        (root / name).write_bytes(b"program " + name.encode())
        (root / name).chmod(0o4755)
    (root / "etc/server.conf").write_text("port = 1\n")
    (root / "etc/server.conf").chmod(0o640)
    return root


def opened(content: Content) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(content.layer()))


def read(layer: tarfile.TarFile, name: str) -> str:
    file = layer.extractfile(name)
    assert file is not None
    return file.read().decode()


def test_the_same_content_gives_the_same_bytes_whenever_and_in_whatever_order_it_was_added(
    root: Path, tmp_path: Path
) -> None:
    archives = []
    for position, order in enumerate(
        (("etc/server.conf", "usr/bin/server"), ("usr/bin/server", "etc/server.conf"))
    ):
        content = Content(root, ("me", 999), ("data",))
        for path in order:
            content.add(path)
            (root / path).touch()
        write_archive(tmp_path / f"{position}.tar", content, "a/b:1", {"Cmd": ["server"]})
        archives.append((tmp_path / f"{position}.tar").read_bytes())
    assert archives[0] == archives[1]


def test_files_keep_their_content_and_lose_what_only_this_machine_means(root: Path) -> None:
    content = Content(root, None, ())
    content.add("usr/bin/server")
    content.add("etc/server.conf")
    layer = opened(content)
    server = layer.getmember("usr/bin/server")
    assert read(layer, "usr/bin/server") == "program usr/bin/server"
    # A program that runs as its owner has no business in a container.
    assert server.mode == 0o755
    assert layer.getmember("etc/server.conf").mode & 0o111 == 0
    assert {(it.uid, it.gid, it.mtime) for it in layer.getmembers()} == {(0, 0, 0)}


def test_every_folder_comes_before_what_lies_in_it(root: Path) -> None:
    content = Content(root, None, ("var/lib/deep/data",))
    content.add("usr/bin/server")
    seen = set[str]()
    for member in opened(content).getmembers():
        parent = member.name.rpartition("/")[0]
        assert not parent or parent in seen
        seen.add(member.name)


@pytest.mark.parametrize(
    ("link", "target", "followed"),
    [
        ("usr/bin/alias", "server", "usr/bin/server"),
        ("usr/bin/absolute", "/etc/server.conf", "etc/server.conf"),
        ("usr/lib/x/up", "../../bin/server", "usr/bin/server"),
        ("usr/lib/x/beyond", "../../../../../etc/server.conf", "etc/server.conf"),
    ],
)
def test_a_link_comes_with_what_it_leads_to(root: Path, link: str, target: str, followed: str) -> None:
    (root / link).symlink_to(target)
    content = Content(root, None, ())
    content.add(link)
    layer = opened(content)
    assert layer.getmember(link).issym()
    assert layer.getmember(link).linkname == target
    assert layer.getmember(followed).isfile()


def test_a_chain_of_links_is_followed_to_its_end(root: Path) -> None:
    (root / "usr/bin/first").symlink_to("/etc/alternatives/second")
    (root / "etc/alternatives/second").symlink_to("../../usr/bin/server")
    content = Content(root, None, ())
    content.add("usr/bin/first")
    assert {"usr/bin/first", "etc/alternatives/second", "usr/bin/server"} <= set(opened(content).getnames())


def test_an_absolute_link_never_brings_a_file_of_this_machine(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of this machine")
    (root / "usr/bin/out").symlink_to(tmp_path / "secret")
    content = Content(root, None, ())
    content.add("usr/bin/out")
    assert not any("secret" in name for name in opened(content).getnames())


def test_links_in_a_circle_or_to_nothing_are_kept_as_they_are(root: Path) -> None:
    (root / "usr/bin/a").symlink_to("b")
    (root / "usr/bin/b").symlink_to("a")
    (root / "usr/bin/nothing").symlink_to("nowhere")
    content = Content(root, None, ())
    for name in ("a", "nothing"):
        content.add(f"usr/bin/{name}")
    assert {"usr/bin/a", "usr/bin/b", "usr/bin/nothing"} <= set(opened(content).getnames())


def test_an_image_knows_its_user_and_gives_it_folders(root: Path) -> None:
    layer = opened(Content(root, ("redis", 999), ("data",)))
    assert read(layer, "etc/passwd").splitlines() == [
        "root:x:0:0:root:/:/bin/sh",
        "redis:x:999:999:redis:/:/bin/sh",
    ]
    assert read(layer, "etc/group").splitlines() == ["root:x:0:", "redis:x:999:"]
    data, temporary = layer.getmember("data"), layer.getmember("tmp")
    assert (data.uid, data.gid, data.mode) == (999, 999, 0o755)
    assert temporary.mode == 0o1777


def test_accounts_of_a_package_do_not_replace_those_of_the_image(root: Path) -> None:
    (root / "etc/passwd").write_text("somebody:x:1:1::/:\n")
    content = Content(root, None, ())
    content.add("etc/passwd")
    assert read(opened(content), "etc/passwd") == "root:x:0:0:root:/:/bin/sh\n"


def test_busybox_stands_in_only_for_what_is_missing(root: Path) -> None:
    content = Content(root, None, ())
    content.add("usr/bin/server")
    content.add_busybox(["sh", "server", "busybox"])
    layer = opened(content)
    assert layer.getmember("bin/sh").linkname == "busybox"
    assert layer.getmember("bin/busybox").isfile()
    assert "bin/server" not in layer.getnames()


def test_an_archive_is_read_back_as_a_runtime_does(root: Path, tmp_path: Path) -> None:
    content = Content(root, ("me", 7), ("data",))
    content.add("usr/bin/server")
    write_archive(
        tmp_path / "image.tar", content, "docker.io/library/server:1", {"Cmd": ["server"], "Env": ["A=b"]}
    )
    with tarfile.open(tmp_path / "image.tar") as archive:

        def member(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(member("manifest.json"))
        settings: dict[str, Any] = json.loads(member(manifest["Config"]))
        (layer_name,) = manifest["Layers"]
        layer = member(layer_name)
    assert manifest["RepoTags"] == ["docker.io/library/server:1"]
    assert settings["os"] == "linux"
    assert settings["architecture"] in ("amd64", "arm64") or settings["architecture"].islower()
    assert settings["config"] == {"Cmd": ["server"], "Env": ["A=b"]}
    assert settings["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inside:
        assert read(inside, "usr/bin/server") == "program usr/bin/server"
