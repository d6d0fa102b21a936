"""What a person writes, and what is said about it: every mistake is one line with file, line and place."""

import io
from pathlib import Path

import pytest

from activities.models.apps import App
from starter import documents
from starter.failures import BAD_REQUEST, OperationFailed

GOOD = """\
app: shop
components:
  - name: db
    instances: 2
    containers:
      - name: main
        image: redis:7
        command: [redis-server, --port, 6379]
        env:
          VERSION: 1.10
          FLAG: yes
          WHEN: 2026-01-02
          PASSWORD: {secret: password}
        ports:
          - {name: redis, port: 6379}
        mounts:
          - {volume: data, path: /data}
        memory: {request: 1Gi, limit: 2Gi}
    volumes:
      - name: data
        size: 10Gi
        iops: 4000
    secrets:
      - name: password
"""


def refusal(text: str) -> OperationFailed:
    with pytest.raises(OperationFailed) as caught:
        documents.parse(text, "shop.yaml")
    assert caught.value.category is BAD_REQUEST
    return caught.value


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, f"{old!r} must stand once in the document"
    return GOOD.replace(old, new)


def test_scalars_keep_what_was_written_and_numbers_become_numbers() -> None:
    (component,) = documents.parse(GOOD, "shop.yaml").components
    (container,) = component.containers
    assert container.env["VERSION"] == "1.10"
    assert container.env["FLAG"] == "yes"
    assert container.env["WHEN"] == "2026-01-02"
    assert container.command == ["redis-server", "--port", "6379"]
    assert (component.instances, container.ports[0].port, component.volumes[0].iops) == (2, 6379, 4000)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "instances: 2",
            "instancs: 2",
            "4: components[0].instancs: unknown key; did you mean 'instances'?",
        ),
        ("instances: 2", "instances: 0", "4: components[0].instances: 0 is too small; at least 1"),
        ("instances: 2", "instances: two", "4: components[0].instances: 'two' is not a whole number"),
        ("instances: 2", "instances: 2\n    instances: 3", "5: components[0].instances: duplicate key"),
        ("size: 10Gi", "size: 0Gi", "21: components[0].volumes[0].size: size '0Gi' is zero"),
        ("size: 10Gi", "size: 70000Gi", "21: components[0].volumes[0].size: size 70000 GiB is outside"),
        ("size: 10Gi", "size: 10GB", "21: components[0].volumes[0].size: size '10GB' is not a disk size"),
        ("iops: 4000", "iops: 9000", "22: components[0].volumes[0].iops: iops 9000 is above 500 per GiB"),
        ("iops: 4000", "type: gp9", "22: components[0].volumes[0].type: unknown disk type 'gp9'"),
        ("app: shop", f"app: {'x' * 31}", "1: app: name"),
        ("app: shop", "app: My_Shop", "1: app: name 'My_Shop' is not valid"),
        (
            "volume: data",
            "volume: nope",
            "17: components[0].containers[0].mounts[0].volume: container 'main'",
        ),
        ("path: /data", "path: /", "17: components[0].containers[0].mounts[0].path: nothing can be mounted"),
        ("path: /data", "path: /proc/x", "17: components[0].containers[0].mounts[0].path: nothing can be"),
        ("port: 6379}", "port: 70000}", "15: components[0].containers[0].ports[0].port: 70000 is too large"),
        ("request: 1Gi", "request: 3Gi", "18: components[0].containers[0].memory: memory request 3Gi"),
        ("secret: password", "secret: other", "13: components[0].containers[0].env.PASSWORD.secret: env"),
        (
            "secret: password",
            "secrets: x",
            "13: components[0].containers[0].env.PASSWORD.secrets: unknown key",
        ),
        ("image: redis:7", "image:", "7: components[0].containers[0].image: must be text, not nothing"),
        ("image: redis:7", "image: [a]", "7: components[0].containers[0].image: must be text, not a list"),
        ("        image: redis:7\n", "", "6: components[0].containers[0].image: is missing"),
        ("FLAG: yes", "FLAG: [1]", "11: components[0].containers[0].env.FLAG: must be text, not a list"),
        (
            "name: password",
            "name: password\n      - name: password",
            "25: components[0].secrets[1].name: dup",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(old: str, new: str, line: str) -> None:
    failure = refusal(changed(old, new))
    shown = failure.details or (failure.message,)
    assert any(one.startswith(f"shop.yaml:{line}") for one in shown), shown
    assert not any("\n" in one for one in shown)


def test_all_mistakes_are_shown_in_the_order_of_the_text() -> None:
    failure = refusal(changed("instances: 2", "instances: 0").replace("port: 6379}", "port: 0}"))
    assert failure.message == "shop.yaml has 2 mistakes"
    assert [line.split(": ")[0] for line in failure.details] == ["shop.yaml:4", "shop.yaml:15"]


def test_a_wall_of_mistakes_is_cut() -> None:
    failure = refusal("app: shop\n" + "".join(f"k{i}: 1\n" for i in range(50)))
    assert len(failure.details) == 21
    assert failure.details[-1] == "… and 31 more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "shop.yaml is empty"),
        ("# nothing\n", "shop.yaml is empty"),
        ("- a\n- b\n", "shop.yaml:1: an app document is a mapping"),
        ("app: shop\n\tcomponents: x\n", "shop.yaml:2: not valid YAML: a tab cannot begin"),
        ("app: a: b\n", "shop.yaml:1: not valid YAML"),
        ("app: a\n---\napp: b\n", "shop.yaml:2: not valid YAML: a second document begins here"),
        ("app: \x00\n", "shop.yaml:1: not valid YAML"),
        ("a: " + "[" * 5000, "shop.yaml:1: nested too deeply"),
        ("a: &a [*a]\n", "shop.yaml:1: the aliases in the document expand to too much"),
        ("app: !!python/name:os.system x\n", "shop.yaml:1: app: the YAML tag"),
    ],
)
def test_what_is_no_document_is_refused_with_a_reason(text: str, message: str) -> None:
    assert refusal(text).message.startswith(message)


def test_aliases_that_multiply_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
    )
    assert "expand to too much" in refusal(bomb).message


def test_a_plain_alias_is_allowed() -> None:
    text = changed("request: 1Gi, limit: 2Gi", "request: &amount 1Gi, limit: *amount")
    (container,) = documents.parse(text, "shop.yaml").components[0].containers
    assert container.memory.limit == "1Gi"


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    large, binary = tmp_path / "large.yaml", tmp_path / "binary.yaml"
    large.write_bytes(b"#" * (documents.MAX_BYTES + 1))
    binary.write_bytes(b"app: x\n\xff\xfe")
    for path, message in (
        (tmp_path / "none.yaml", "does not exist"),
        (tmp_path, "cannot be read: Is a directory"),
        (large, "is larger than 1 MiB"),
        (binary, "binary.yaml:2: this is not UTF-8 text"),
    ):
        with pytest.raises(OperationFailed, match=message):
            documents.read(str(path))


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert isinstance(documents.read("-"), App)
